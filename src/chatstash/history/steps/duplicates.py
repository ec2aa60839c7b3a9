"""Hides from readers the duplicates that late requests leave, and removes them.

Of several records with one id, the oldest counts, even if another was edited. No clock is trusted: a settlement that
appends notes the place of its batch and the record before it, so the same batch anywhere else is a duplicate. Where no
place is noted, as for a request that a proxy repeated, the times in the ids tell where to look. Records of other
libraries have no id and are never duplicates.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from chatstash.errors import ChatstashError, ReadOnlyToken
from chatstash.history.records.identity import digest_of, identity
from chatstash.history.records.places import DIGEST_LENGTH, Place, places_key, places_of
from chatstash.history.records.record import Entry, Record, RecordId
from chatstash.history.scripts.loading import call
from chatstash.history.steps.replies import checked_counts
from chatstash.history.steps.requests import run_script
from chatstash.rest.commands import Effect, Reply
from chatstash.rest.ops import Op

_log = logging.getLogger("chatstash")

_MOST_SEARCHES = 5
"""How often one read searches for duplicates: more may arrive each time."""


def distinct(
    entries: Sequence[Entry],
    first_place: int = 0,
    places: Mapping[str, Place] | None = None,
    *,
    seen: set[bytes] | None = None,
) -> list[Entry]:
    """Return records without the duplicates among them, or of records `seen` in earlier calls."""
    places = places or {}
    kept: list[Entry] = []
    seen = set() if seen is None else seen
    duplicated: dict[str, bool] = {}
    for at, entry in enumerate(entries):
        if (named := _named(entry)) is None:
            kept.append(entry)
            continue
        batch, position, _ = named.id
        if (noted := places.get(batch)) is not None:
            if at == 0 or position > 0:
                duplicated.setdefault(batch, first_place + at > noted.first + position)
            elif kept and kept[-1] is entries[at - 1]:
                duplicated[batch] = _digest_of(entries[at - 1]) != noted.older
            else:
                # Requests that arrive late together leave duplicates with the same neighbours.
                duplicated[batch] = first_place + at > noted.first
        if named.identity not in seen and not duplicated.get(batch):
            seen.add(named.identity)
            kept.append(entry)
    return kept


def suspects(entries: Sequence[Entry], first_place: int, places: Mapping[str, Place]) -> list[str]:
    """Return the batches that have duplicates among these records, or may have some beyond them."""
    named = list(map(_named, entries))
    ids = [each and each.id for each in named]
    counted = Counter(each.identity for each in named if each)
    batches = {each.id.batch: None for each in named if each and counted[each.identity] > 1}
    if first_place > 0:
        batches |= dict.fromkeys(_batches_elsewhere(entries, ids, first_place, places))
        batches |= dict.fromkeys(_batches_out_of_order(ids, places))
    return list(batches)


def suspects_at_the_end(entries: Sequence[Entry], places: Mapping[str, Place]) -> list[str]:
    """Return the batches, among the newest records, that may have duplicates there."""
    ids = _ids_of(entries)
    noted = (record_id.batch for record_id in ids if record_id is not None and record_id.batch in places)
    return list(dict.fromkeys([*noted, *_batches_out_of_order(ids, places)]))


def _batches_elsewhere(
    entries: Sequence[Entry], ids: Sequence[RecordId | None], first_place: int, places: Mapping[str, Place]
) -> Iterator[str]:
    """Yield the batches that are not at their noted place: after another record, or after more records.

    Others may trim the conversation, so a place nearer to the oldest counts only where the record before was not read.
    Requests that arrive late together leave duplicates with the same neighbours, further on. An append is all or
    nothing, so only the beginning of a batch is compared.
    """
    for at, record_id in enumerate(ids):
        if record_id is None or record_id.batch not in places:
            continue
        noted = places[record_id.batch]
        if at == 0:
            is_elsewhere = first_place - record_id.position != noted.first
        else:
            is_elsewhere = first_place + at > noted.first or _digest_of(entries[at - 1]) != noted.older
        if is_elsewhere and (at == 0 or record_id.position == 0):
            yield record_id.batch


def _digest_of(entry: Entry) -> str:
    return digest_of(identity(entry.raw))[:DIGEST_LENGTH]


class _Named(NamedTuple):
    """The id of a record, and its identity, which is the text of the id."""

    id: RecordId
    identity: bytes


def _named(entry: Entry) -> _Named | None:
    """Return the id and the identity of a record; None where its identity is not its id."""
    if not isinstance(entry, Record) or (record_id := entry.id) is None:
        return None
    found = identity(entry.raw)
    return None if found is entry.raw else _Named(record_id, found)


def _ids_of(entries: Iterable[Entry]) -> list[RecordId | None]:
    return [named and named.id for named in map(_named, entries)]


def _batches_out_of_order(ids: Sequence[RecordId | None], places: Mapping[str, Place]) -> Iterator[str]:
    """Yield the batches that stand after a record that was written later, by the writers' clocks.

    Batches that arrived with such a batch follow it, and were written before that record, too. Clocks differ, so all
    of them may be in order. A batch whose place is noted needs no such guess.
    """
    present = [record_id for record_id in ids if record_id]
    written_later = 0
    for older, newer in pairwise(present):
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


class DuplicateSearch:
    """The searches for duplicates of one read: a second read may show duplicates that arrived after the first.

    Attributes:
        left: The place of each batch whose duplicates could not be removed.
    """

    def __init__(self, key: str) -> None:
        self.left: dict[str, Place] = {}
        self._key = key
        self._searches_left = _MOST_SEARCHES
        self._not_noted: set[str] = set()

    def must_read_again(self, entries: Sequence[Entry], first_place: int, places: Mapping[str, Place]) -> Op[bool]:
        """Search for duplicates of what was read, and remove them; tells whether to read again."""
        entries, first_place = self._without_left(entries, first_place)
        batches = [batch for batch in suspects(entries, first_place, places) if batch not in self._not_noted]
        if not batches or not self._searches_left:
            return False
        self._searches_left -= 1
        removal = yield from remove_duplicates(self._key, batches)
        self.left |= removal.left
        self._not_noted |= set() if removal.is_noted else {*batches}
        # Others may have removed them first; or this search did, and its reply was lost.
        are_elsewhere = any(_batches_elsewhere(entries, _ids_of(entries), first_place, removal.places))
        return removal.removed > 0 or bool(removal.left) or are_elsewhere

    def _without_left(self, entries: Sequence[Entry], first_place: int) -> tuple[Sequence[Entry], int]:
        """Return records without the duplicates that could not be removed, and the place of the first."""
        if not self.left:
            return entries, first_place
        kept = distinct(entries, first_place, self.left)
        first = next((at for at, entry in enumerate(entries) if kept and entry is kept[0]), 0)
        return kept, first_place + first


class Removal(NamedTuple):
    """The result of removing duplicates.

    Attributes:
        removed: How many were removed.
        places: The place of each batch; empty where the request failed.
        left: The place of each batch whose duplicates could not be removed.
        is_noted: Whether the places of the batches were noted.
    """

    removed: int
    places: Mapping[str, Place]
    left: Mapping[str, Place]
    is_noted: bool


def remove_duplicates(key: str, batches: Sequence[str]) -> Op[Removal]:
    """Remove the duplicates of some batches; one request, five commands or a few more.

    If that fails, another request only locates them, which a read-only token may do. A failure is logged, not raised:
    the reader has its records, and the next reader tries again.
    """
    removing = call("remove_duplicates", (key, places_key(key)), *batches)
    try:
        answer = yield from run_script(key, removing, Effect.IDEMPOTENT)
    except ChatstashError as error:
        level = logging.DEBUG if isinstance(error, ReadOnlyToken) else logging.WARNING
        _log.log(level, "Duplicates in %r could not be removed, and are hidden from this reader only. %s", key, error)
        return (yield from _locate_duplicates(key, batches))
    (removed,) = checked_counts(answer, 1, Effect.IDEMPOTENT)
    return Removal(removed, _places_in(answer), {}, is_noted=True)


def _locate_duplicates(key: str, batches: Sequence[str]) -> Op[Removal]:
    try:
        answer = yield from run_script(key, call("locate_duplicates", (key,), *batches), Effect.READ)
    except ChatstashError as error:
        _log.warning("Duplicates in %r could not be located. A message may be shown twice. %s", key, error)
        return Removal(0, {}, {}, is_noted=False)
    places, doubled = _places_in(answer), answer[3] if len(answer) > 3 else None
    batches = doubled.decode("ascii", "replace").split() if isinstance(doubled, bytes) else []
    return Removal(0, places, {batch: places[batch] for batch in batches if batch in places}, is_noted=False)


def _places_in(answer: Sequence[Reply]) -> dict[str, Place]:
    return places_of(answer[2] if len(answer) > 2 else None)
