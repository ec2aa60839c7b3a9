"""Reads the ancestors of a checkpoint, for channels whose value is made from writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from chatstash.rest.ops import Op
from chatstash.threads.header import ChannelEntry, WritesText
from chatstash.threads.layout import Place, ThreadKeys, WritesName
from chatstash.threads.manifest import Manifest
from chatstash.threads.operations.names import Named, named, read_names
from chatstash.threads.operations.read import Range, read_headers, read_value

ANCESTORS_PER_READ = 50


class StoredValue(NamedTuple):
    """A value: how its groups are joined, which they are, and their texts."""

    entry: ChannelEntry
    manifest: Manifest
    groups: dict[str, str]


class ChannelHistory(NamedTuple):
    """What the ancestors of a checkpoint contributed to a channel.

    Attributes:
        writes: The writes of each ancestor, the nearest first, back to the one that has a value.
        seed: The value of that one; None if no ancestor has one.
    """

    writes: list[Sequence[tuple[WritesName, WritesText]]]
    seed: StoredValue | None


def channel_histories(
    keys: ThreadKeys, namespace: str, checkpoint_id: str | None, channels: Sequence[str]
) -> Op[dict[str, ChannelHistory]]:
    """Return the history of channels; one request, one for each 50 ancestors, and one or more for each seed.

    It ends at the nearest ancestor that has a value, so a snapshot bounds it.
    """
    chain = yield from _ancestors(keys, namespace, checkpoint_id)
    histories = {channel: ChannelHistory([], None) for channel in channels}
    missing = set(channels)
    for at in range(0, len(chain), ANCESTORS_PER_READ):
        if not missing:
            break
        for _, text, writes in (yield from read_headers(keys, chain[at : at + ANCESTORS_PER_READ])):
            for channel in sorted(missing):
                histories[channel].writes.append(writes)
                if channel in text.header.channels:
                    manifest, groups = yield from read_value(keys, text, channel)
                    seed = StoredValue(text.header.channels[channel], manifest, groups)
                    histories[channel] = histories[channel]._replace(seed=seed)
                    missing.discard(channel)
    return histories


def _ancestors(keys: ThreadKeys, namespace: str, checkpoint_id: str | None) -> Op[list[Named]]:
    end, start = Range.of_namespace(namespace)
    if checkpoint_id is not None:
        end = Range.of_checkpoint(Place(namespace, checkpoint_id))[0]
    checkpoints = named((yield from read_names(keys, (end, start))))
    by_id = {checkpoint.name.place.checkpoint_id: checkpoint for checkpoint in checkpoints}
    current = by_id.get(checkpoint_id) if checkpoint_id is not None else next(iter(checkpoints), None)
    chain: list[Named] = []
    while current is not None and current.name.parent_id:
        current = by_id.get(current.name.parent_id)
        if current is None or current in chain[:1]:
            break
        chain.append(current)
    return chain
