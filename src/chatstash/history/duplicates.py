"""Duplicates left by late requests: hidden from readers, and removed. Pure, but for a log.

A record's identity is its id, whatever was edited since, and its oldest copy is the one that counts. A duplicate is
recognised without trusting any clock: a settlement that appends notes where its batch stands, so the same batch
anywhere else is a duplicate. For what was not noted, such as a request that a proxy repeated, the times in the ids tell
where to look. Records of other libraries have no id and are never duplicates.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from chatstash.errors import ChatstashError, ReadOnlyToken, UnreadableRecord
from chatstash.history import scripts
from chatstash.history.identity import has_id, identity
from chatstash.history.keys import companion_key
from chatstash.history.lists import counts, run_script
from chatstash.history.records import Record, RecordId
from chatstash.rest.commands import Effect
from chatstash.rest.ops import Op

_log = logging.getLogger("chatstash")

Entries = Sequence[Record | UnreadableRecord]


def places_key(key: str) -> str:
    """Return the key at which it is noted where batches stand that may have duplicates."""
    return companion_key("places", key)


def places_of(noted: object) -> dict[str, int]:
    """Return the place of the oldest record of each batch that was noted; 0 for the oldest record of all."""
    if not isinstance(noted, bytes):
        return {}
    words = (word.partition(":") for word in noted.decode("ascii", "replace").split())
    return {batch: int(place) for batch, _, place in words if place.isdecimal()}


def distinct(
    entries: Entries, first_place: int = 0, places: Mapping[str, int] | None = None
) -> list[Record | UnreadableRecord]:
    """Return records without the duplicates among them.

    Args:
        entries: Records, oldest first.
        first_place: The place of the first of them in the conversation, 0 for the oldest of all.
        places: Where the oldest record of each batch stands that has duplicates which could not be removed.
    """
    places = places or {}
    kept: list[Record | UnreadableRecord] = []
    seen: set[bytes] = set()
    for place, entry in enumerate(entries, first_place):
        rid = _rid_of(entry)
        if rid is None:
            kept.append(entry)
        elif (name := identity(entry.raw)) not in seen and place <= places.get(rid.batch, place) + rid.position:
            seen.add(name)
            kept.append(entry)
    return kept


def suspects(entries: Entries, first_place: int, places: Mapping[str, int]) -> list[str]:
    """Return the batches of which there are duplicates, or may be some beyond these records.

    Args:
        entries: Records, oldest first.
        first_place: The place of the first of them in the conversation, 0 for the oldest of all.
        places: Where batches were noted to stand.
    """
    rids = [(place, rid, entry) for place, entry in enumerate(entries, first_place) if (rid := _rid_of(entry))]
    counted = Counter(identity(entry.raw) for _, _, entry in rids)
    batches = {rid.batch: None for _, rid, entry in rids if counted[identity(entry.raw)] > 1}
    if first_place > 0:
        moved = (
            rid.batch for place, rid, _ in rids if places.get(rid.batch, place - rid.position) != place - rid.position
        )
        batches |= dict.fromkeys(moved)
        batches |= dict.fromkeys(_batches_out_of_order([rid for _, rid, _ in rids if rid.batch not in places]))
    return list(batches)


def _rid_of(entry: Record | UnreadableRecord) -> RecordId | None:
    return entry.rid if isinstance(entry, Record) and has_id(entry.raw) else None


def _batches_out_of_order(rids: Sequence[RecordId]) -> list[str]:
    """Return the batches that came after an older neighbour that was written later, by the writers' clocks.

    Clocks differ, so they may be in order all the same. A batch whose place is noted needs no such guess.
    """
    return [newer.batch for older, newer in pairwise(rids) if _is_late(older, newer)]


def _is_late(older: RecordId, newer: RecordId) -> bool:
    if older.batch == newer.batch:
        return newer.position <= older.position
    return newer.time_ms < older.time_ms


class Removal(NamedTuple):
    """What became of duplicates.

    Attributes:
        removed: How many were removed.
        left: Where the oldest record of each batch stands of which duplicates could not be removed.
    """

    removed: int
    left: Mapping[str, int]


def remove_duplicates(key: str, batches: Sequence[str]) -> Op[Removal]:
    """Remove the duplicates of some batches; one request, five commands or a few more.

    If that fails they are only looked for, which a read-only token may do, with another request. The reader has what it
    asked for: a failure is logged, and they are left to the next reader.
    """
    removing = scripts.removing_duplicates(key, places_key(key), batches)
    try:
        answer, _ = yield from run_script(key, removing, Effect.IDEMPOTENT)
    except ChatstashError as error:
        level = logging.DEBUG if isinstance(error, ReadOnlyToken) else logging.WARNING
        _log.log(level, "Duplicates in %r could not be removed, and are hidden from this reader only. %s", key, error)
        return (yield from _locate_duplicates(key, batches))
    (removed,) = counts(answer, 1, Effect.IDEMPOTENT)
    return Removal(removed, {})


def _locate_duplicates(key: str, batches: Sequence[str]) -> Op[Removal]:
    try:
        answer, _ = yield from run_script(key, scripts.locating(key, batches), Effect.READ)
    except ChatstashError as error:
        _log.warning("Duplicates in %r could not be looked for. A message may be shown twice. %s", key, error)
        return Removal(0, {})
    return Removal(0, places_of(answer[2] if len(answer) > 2 else None))
