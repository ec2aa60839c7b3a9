"""Reading a conversation, as an operation: every record once, oldest first, whatever is stored. Pure, but for a log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from chatstash.errors import DatabaseError, ReadOnlyToken, UnreadableRecord
from chatstash.history import scripts
from chatstash.history.lists import counts, run_script
from chatstash.history.options import OnCorrupt, Options
from chatstash.history.pages import stored_records
from chatstash.history.records import Record, RecordId, decode
from chatstash.rest.commands import Cost, Effect
from chatstash.rest.ops import Op

T = TypeVar("T")

_log = logging.getLogger("chatstash")

_MOST_COMPARED = 10
"""How many records without an id, as old libraries write them, tell a conversation from another of the same length."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a conversation holds, before it is decided what becomes of records that cannot be read.

    Attributes:
        entries: Each record, or the error of one that cannot be read, oldest first; each once.
        length: How many records are stored.
        newest: The newest of them as stored, newest first: back to one whose id tells it from any other, ten at most.
        cost: Requests, commands and bytes.
    """

    entries: Sequence[Record | UnreadableRecord]
    length: int
    newest: Sequence[bytes]
    cost: Cost


def read(key: str, options: Options) -> Op[Contents]:
    """Read a whole conversation; one request, one command, or two where the ttl is refreshed.

    More requests only where the reply would be over the server's limit, or where a record was stored twice, by a
    request that came late: the oldest copy stays, and the others are taken out of storage with one more request.

    Raises:
        WrongType: The key holds something else, which was left as it was.
    """
    refresh = options.ttl if options.refresh_ttl_on_read else None
    stored = yield from stored_records(key, refresh, options.max_request_bytes)
    kept, twins = _without_twins(entries_of(stored.records, key))
    if not twins:
        return _contents(kept, stored.records, stored.cost)
    spent = yield from _remove(key, twins)
    if spent is None:
        return _contents(kept, stored.records, stored.cost)
    left = _without_copies(stored.records, twins)
    # Read anew from their bytes, for their places are others now.
    kept, _ = _without_twins(entries_of(left, key))
    return _contents(kept, left, stored.cost + spent)


def _contents(entries: Sequence[Record | UnreadableRecord], stored: Sequence[bytes], cost: Cost) -> Contents:
    return Contents(entries, len(stored), _newest(stored), cost)


def _newest(stored: Sequence[bytes]) -> list[bytes]:
    newest: list[bytes] = []
    for raw in stored[: -_MOST_COMPARED - 1 : -1]:
        newest.append(raw)
        entry = _entry(raw, "", 0)
        if isinstance(entry, Record) and entry.rid is not None:
            break
    return newest


def _without_copies(stored: Sequence[bytes], twins: Sequence[str]) -> list[bytes]:
    """Return what is stored once all copies of `twins` but the oldest are gone."""
    copied = {twin.encode() for twin in twins}
    seen: set[bytes] = set()
    left: list[bytes] = []
    for raw in stored:
        if raw not in seen:
            left.append(raw)
        if raw in copied:
            seen.add(raw)
    return left


def entries_of(stored: Sequence[bytes], key: str) -> list[Record | UnreadableRecord]:
    """Return the record of each stored form, oldest first, or the error of one that cannot be read."""
    return [_entry(raw, key, position) for position, raw in enumerate(stored)]


def _entry(raw: bytes, key: str, position: int) -> Record | UnreadableRecord:
    try:
        return decode(raw, key=key, position=position)
    except UnreadableRecord as error:
        return error


def _without_twins(
    entries: Sequence[Record | UnreadableRecord],
) -> tuple[Sequence[Record | UnreadableRecord], list[str]]:
    """Return the entries without later copies of a record, and the stored form of those that are equal to it."""
    oldest: dict[RecordId, Record] = {}
    kept: list[Record | UnreadableRecord] = []
    twins: dict[str, None] = {}
    for entry in entries:
        if not isinstance(entry, Record) or entry.rid is None or oldest.setdefault(entry.rid, entry) is entry:
            kept.append(entry)
        elif oldest[entry.rid].raw == entry.raw:
            twins[entry.raw.decode()] = None
    return kept, list(twins)


def _remove(key: str, twins: Sequence[str]) -> Op[Cost | None]:
    """Take later copies out of storage. The reader has what it asked for: a failure is logged, and answered by None."""
    try:
        answer, cost = yield from run_script(key, scripts.removing_twins(key, twins), Effect.IDEMPOTENT)
        _, ran = counts(answer, 2, Effect.IDEMPOTENT)
    except DatabaseError as error:
        level = logging.DEBUG if isinstance(error, ReadOnlyToken) else logging.WARNING
        _log.log(
            level, "copies of %d records of %r could not be removed, and are passed over: %s", len(twins), key, error
        )
        return None
    return cost + Cost(commands=ran)


def kept_of(
    entries: Sequence[T | UnreadableRecord], on_corrupt: OnCorrupt, placeholder: Callable[[UnreadableRecord], T]
) -> list[T]:
    """Return what can be read, and what stands in for what cannot, or raise.

    Args:
        entries: What was read, and the errors of what could not be.
        on_corrupt: `raise` the first error, with all that can be read; `skip` with a warning in the log; or put a
            `placeholder` in its place, with the same warning.
        placeholder: Makes what stands in for a record.

    Raises:
        UnreadableRecord: With `raise`, where there is one.
    """
    errors = [entry for entry in entries if isinstance(entry, UnreadableRecord)]
    if not errors:
        return list(entries)  # type: ignore[arg-type] # all are T then
    if on_corrupt == "raise":
        errors[0].further = tuple(errors[1:])
        raise errors[0]
    for error in errors:
        _log.warning("%s It is passed over.", error)
    kept: list[T] = []
    for entry in entries:
        if not isinstance(entry, UnreadableRecord):
            kept.append(entry)
        elif on_corrupt == "placeholder":
            kept.append(placeholder(entry))
    return kept


PLACEHOLDER_TEXT = "[A message that could not be read.]"


def placeholder_record(error: UnreadableRecord) -> Record:
    """Return the record that stands in for one that cannot be read: a system message that says so."""
    return Record("system", {"content": PLACEHOLDER_TEXT}, other={"unreadable": error.reason}, raw=error.raw)
