"""Reading the newest records, as operations. Pure.

What a window costs depends on what it returns, and not on what is stored. It is given here as it is stored;
`presenting` makes of it what a model takes.
"""

from __future__ import annotations

from collections.abc import Sequence

from chatstash.history.cache.snapshot import Snapshot
from chatstash.history.operations.read import Contents, entries_of, newest_of
from chatstash.history.options import Options
from chatstash.history.records.message_types import SYSTEM_TYPES
from chatstash.history.records.places import places_key
from chatstash.history.records.record import Entry, Record
from chatstash.history.scripts.loading import call
from chatstash.history.selection import Window
from chatstash.history.steps.cursors import cursor_before
from chatstash.history.steps.duplicates import DuplicateSearch, distinct
from chatstash.history.steps.fetch import Fetched, fetch
from chatstash.history.steps.replies import checked_counts
from chatstash.history.steps.requests import run_script
from chatstash.rest.commands import Effect
from chatstash.rest.ops import Op


def read_window(key: str, window: Window, options: Options, snapshot: Snapshot | None = None) -> Op[Contents]:
    """Read the newest records; one request, three commands, one more to keep the system message, to refresh the ttl.

    With a snapshot, one command more. More requests where the snapshot is stale, where the reply would be over
    the server's limit, or where a record may be a duplicate of one outside the window.

    Raises:
        WrongType: The key holds something else, which was left as it was.
        RequestTooLarge: One record alone is over the server's limit.
    """
    found = yield from fetch(key, window, options, snapshot)
    search, reach = DuplicateSearch(key), window.last
    while True:
        entries, first_place = _entries_of(found, key), _first_place(found)
        if not (yield from search.must_read_again(entries, first_place, found.places)):
            kept = distinct(entries, first_place, search.left)
            wanted = window.last + len(entries) - len(kept)
            if reach >= wanted or not first_place:
                return _contents(key, window, found, kept)
            # Of the duplicates that could not be removed, as far back as it takes.
            reach = wanted
        found = yield from fetch(key, window._replace(last=reach), options)


def _first_place(found: Fetched) -> int:
    return found.length - len(found.stored)


def _entries_of(found: Fetched, key: str) -> Sequence[Entry]:
    return entries_of(found.stored, key, _first_place(found))


def _contents(key: str, window: Window, found: Fetched, entries: Sequence[Entry]) -> Contents:
    length = _first_place(found) + len(entries)
    kept = list(entries[max(0, len(entries) - window.last) :])
    omitted = length - len(kept)
    cursor = cursor_before(entries, len(entries) - len(kept), length) if omitted else None
    system = entries_of([found.first], key) if omitted and found.first is not None else []
    system_kept = any(map(_is_system, system))
    if system_kept:
        kept, omitted = [*system, *kept], omitted - 1
    return Contents(
        kept, found.length, newest_of(found.stored),
        omitted=omitted, cursor=cursor, fetched=found, system_kept=system_kept,
    )  # fmt: skip


def kept_system(contents: Contents, *, keep_system: bool) -> Entry | None:
    """Return the first of the records that were read where it is the system message to keep."""
    keeps = keep_system and (contents.system_kept or not contents.omitted)
    first = contents.entries[0] if keeps and contents.entries else None
    return first if first is not None and _is_system(first) else None


def _is_system(entry: Entry) -> bool:
    return isinstance(entry, Record) and entry.type in SYSTEM_TYPES


def count(key: str) -> Op[int]:
    """Count the records of a conversation without duplicates; one request, four commands, more where there may be some.

    Raises:
        WrongType: The key holds something else, which was left as it was.
    """
    answer = yield from run_script(key, call("count", (key, places_key(key))), Effect.READ)
    (length,) = checked_counts(answer, 1, Effect.READ)
    return length
