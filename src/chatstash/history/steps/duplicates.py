"""Duplicates left by late requests: hidden from readers, and removed. Pure, but for a log.

A record's identity is its id, whatever was edited since, and its oldest copy is the one that counts. A duplicate is
recognised without trusting any clock: a settlement that appends notes where its batch stands, after which record, so
the same batch anywhere else is a duplicate. For what was not noted, such as a request that a proxy repeated, the times
in the ids tell where to look. Records of other libraries have no id and are never duplicates.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from chatstash.errors import ChatstashError, ReadOnlyToken
from chatstash.history.records.identity import has_id, identity
from chatstash.history.records.record import Entry, Record, RecordId
from chatstash.history.scripts.duplicates import locating, removing_duplicates
from chatstash.history.scripts.pieces import digest_of
from chatstash.history.steps.lists import counts, run_script
from chatstash.history.steps.places import DIGEST_LENGTH, Place, places_key, places_of
from chatstash.rest.commands import Effect, Reply
from chatstash.rest.ops import Op

_log = logging.getLogger("chatstash")


_MOST_LOOKS = 5
"""How often one read looks for duplicates at most, for others may arrive again and again."""


def distinct(entries: Sequence[Entry], first_place: int = 0, places: Mapping[str, Place] | None = None) -> list[Entry]:
    """Return records without the duplicates among them.

    Args:
        entries: Records, oldest first.
        first_place: The place of the first of them in the conversation, 0 for the oldest of all.
        places: Where the oldest record of each batch stands that has duplicates which could not be removed.
    """
    places = places or {}
    kept: list[Entry] = []
    seen: set[bytes] = set()
    are_duplicates: dict[str, bool] = {}
    for at, entry in enumerate(entries):
        rid = _id_of(entry)
        if rid is None:
            kept.append(entry)
            continue
        if (noted := places.get(rid.batch)) is not None:
            # Requests that arrive late together leave duplicates with the same neighbours as before.
            if at > 0 and rid.position == 0 and kept and kept[-1] is entries[at - 1]:
                are_duplicates[rid.batch] = _digest_of(entries[at - 1]) != noted.older
            elif at > 0 and rid.position == 0:
                are_duplicates[rid.batch] = first_place + at > noted.first
            else:
                are_duplicates.setdefault(rid.batch, first_place + at > noted.first + rid.position)
        if (name := identity(entry.raw)) not in seen and not are_duplicates.get(rid.batch):
            seen.add(name)
            kept.append(entry)
    return kept


def suspects(entries: Sequence[Entry], first_place: int, places: Mapping[str, Place]) -> list[str]:
    """Return the batches of which there are duplicates, or may be some beyond these records.

    Args:
        entries: Records, oldest first.
        first_place: The place of the first of them in the conversation, 0 for the oldest of all.
        places: Where batches were noted to stand.
    """
    ids = list(map(_id_of, entries))
    named = [(identity(entry.raw), rid) for entry, rid in zip(entries, ids, strict=True) if rid]
    counted = Counter(name for name, _ in named)
    batches = {rid.batch: None for name, rid in named if counted[name] > 1}
    if first_place > 0:
        batches |= dict.fromkeys(_batches_elsewhere(entries, ids, first_place, places))
        batches |= dict.fromkeys(_batches_out_of_order(ids, places))
    return list(batches)


def _batches_elsewhere(
    entries: Sequence[Entry], ids: Sequence[RecordId | None], first_place: int, places: Mapping[str, Place]
) -> Iterator[str]:
    """Yield the batches that are not where they were noted: another record is before them, or more records are.

    Others may trim the conversation, so a place nearer to the oldest counts only where the record before is not known.
    Requests that arrive late together leave duplicates with the same neighbours as before, further on. An append is all
    or nothing, so a batch that begins in the right place is right to its end.
    """
    for at, rid in enumerate(ids):
        if rid is None or rid.batch not in places:
            continue
        noted = places[rid.batch]
        if at == 0:
            is_elsewhere = first_place - rid.position != noted.first
        else:
            is_elsewhere = first_place + at > noted.first or _digest_of(entries[at - 1]) != noted.older
        if is_elsewhere and (at == 0 or rid.position == 0):
            yield rid.batch


def _digest_of(entry: Entry) -> str:
    return digest_of(identity(entry.raw))[:DIGEST_LENGTH]


def _id_of(entry: Entry) -> RecordId | None:
    return entry.id if isinstance(entry, Record) and has_id(entry.raw) else None


def _batches_out_of_order(ids: Sequence[RecordId | None], places: Mapping[str, Place]) -> Iterator[str]:
    """Yield the batches that came after an older neighbour that was written later, by the writers' clocks.

    Those that came with the first of them follow it, and were written before that neighbour, too. Clocks differ, so
    they may be in order all the same. A batch whose place is noted needs no such guess.
    """
    known = [rid for rid in ids if rid]
    written_later = 0
    for older, newer in pairwise(known):
        if _is_late(older, newer):
            written_later = max(written_later, older.time_ms)
        elif newer.time_ms >= written_later:
            written_later = 0
        if (written_later or _is_late(older, newer)) and newer.batch not in places:
            yield newer.batch


def _is_late(older: RecordId, newer: RecordId) -> bool:
    if older.batch == newer.batch:
        return newer.position <= older.position
    return newer.time_ms < older.time_ms


class Looks:
    """The looks for duplicates of one read: what is read again after one may show others, which arrived meanwhile.

    Attributes:
        left: The place of each batch of which duplicates could not be removed.
    """

    def __init__(self, key: str) -> None:
        self.left: dict[str, Place] = {}
        self._key = key
        self._left_looks = _MOST_LOOKS
        self._not_noted: set[str] = set()

    def have_changed(self, entries: Sequence[Entry], first_place: int, places: Mapping[str, Place]) -> Op[bool]:
        """Look for the duplicates that there may be of what was read; tells whether it is to be read again.

        Args:
            entries: Records, oldest first.
            first_place: The place of the first of them in the conversation, 0 for the oldest of all.
            places: Where batches were noted to stand.
        """
        entries, first_place = self._without_left(entries, first_place)
        batches = [batch for batch in suspects(entries, first_place, places) if batch not in self._not_noted]
        if not batches or not self._left_looks:
            return False
        self._left_looks -= 1
        removal = yield from remove_duplicates(self._key, batches)
        self.left |= removal.left
        self._not_noted |= set() if removal.is_noted else {*batches}
        # Others may have removed them first, or this look itself did, and its reply was lost.
        are_elsewhere = any(_batches_elsewhere(entries, list(map(_id_of, entries)), first_place, removal.places))
        return removal.removed > 0 or bool(removal.left) or are_elsewhere

    def _without_left(self, entries: Sequence[Entry], first_place: int) -> tuple[Sequence[Entry], int]:
        """Return records as they would be read without the duplicates that could not be removed, and their place."""
        if not self.left:
            return entries, first_place
        kept = distinct(entries, first_place, self.left)
        first = next((at for at, entry in enumerate(entries) if kept and entry is kept[0]), 0)
        return kept, first_place + first


class Removal(NamedTuple):
    """What became of duplicates.

    Attributes:
        removed: How many were removed.
        places: The place of each batch now; empty where that could not be asked.
        left: The place of each batch of which duplicates could not be removed.
        is_noted: Whether it was noted where the batches stand.
    """

    removed: int
    places: Mapping[str, Place]
    left: Mapping[str, Place]
    is_noted: bool


def remove_duplicates(key: str, batches: Sequence[str]) -> Op[Removal]:
    """Remove the duplicates of some batches; one request, five commands or a few more.

    If that fails they are only looked for, which a read-only token may do, with another request. The reader has what it
    asked for: a failure is logged, and they are left to the next reader.
    """
    removing = removing_duplicates(key, places_key(key), batches)
    try:
        answer = yield from run_script(key, removing, Effect.IDEMPOTENT)
    except ChatstashError as error:
        level = logging.DEBUG if isinstance(error, ReadOnlyToken) else logging.WARNING
        _log.log(level, "Duplicates in %r could not be removed, and are hidden from this reader only. %s", key, error)
        return (yield from _locate_duplicates(key, batches))
    (removed,) = counts(answer, 1, Effect.IDEMPOTENT)
    return Removal(removed, _places_in(answer), {}, is_noted=True)


def _locate_duplicates(key: str, batches: Sequence[str]) -> Op[Removal]:
    try:
        answer = yield from run_script(key, locating(key, batches), Effect.READ)
    except ChatstashError as error:
        _log.warning("Duplicates in %r could not be looked for. A message may be shown twice. %s", key, error)
        return Removal(0, {}, {}, is_noted=False)
    places, doubled = _places_in(answer), answer[3] if len(answer) > 3 else None
    batches = doubled.decode("ascii", "replace").split() if isinstance(doubled, bytes) else []
    return Removal(0, places, {batch: places[batch] for batch in batches if batch in places}, is_noted=False)


def _places_in(answer: Sequence[Reply]) -> dict[str, Place]:
    return places_of(answer[2] if len(answer) > 2 else None)
