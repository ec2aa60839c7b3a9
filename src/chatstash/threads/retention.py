"""Decides which checkpoints pruning keeps. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from chatstash.threads.layout import CheckpointName, Place, WritesName


def kept(
    checkpoints: Sequence[CheckpointName],
    writes: Iterable[WritesName],
    *,
    keep_last: int,
    interrupt_kind: str,
) -> set[Place]:
    """Return the checkpoints to keep, before those that others need: see `with_ancestors`.

    Those are the newest of each namespace, and each that waits for an answer: it has an interrupt, and no checkpoint
    continues it.

    Args:
        checkpoints: All checkpoints of a thread.
        writes: The names of all writes.
        keep_last: How many checkpoints of each namespace to keep.
        interrupt_kind: The kind of the writes that are interrupts.
    """
    newest: dict[str, list[Place]] = {}
    for name in sorted(checkpoints, key=lambda name: name.place.checkpoint_id, reverse=True):
        newest.setdefault(name.place.namespace, []).append(name.place)
    continued = {Place(name.place.namespace, name.parent_id) for name in checkpoints if name.parent_id}
    waiting = {name.place for name in writes if name.kind == interrupt_kind} - continued
    return {place for places in newest.values() for place in places[:keep_last]} | waiting


def with_ancestors(
    keep: Collection[Place],
    checkpoints: Iterable[CheckpointName],
    needed: Mapping[Place, Collection[str]],
    present: Mapping[Place, Collection[str]],
) -> set[Place]:
    """Return `keep` and the ancestors from which its delta channels are made.

    Args:
        keep: Checkpoints to keep.
        checkpoints: All checkpoints.
        needed: The delta channels of each checkpoint.
        present: The channels that have a value in each checkpoint.
    """
    parents = {name.place: name.parent_id for name in checkpoints}
    found = set(keep)
    for place in keep:
        missing = set(needed.get(place, ())) - set(present.get(place, ()))
        current = place
        while missing and parents.get(current):
            current = Place(current.namespace, parents[current])
            if current not in parents:
                break
            found.add(current)
            missing -= set(present.get(current, ()))
    return found
