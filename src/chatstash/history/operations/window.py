"""Reads a window, the newest records as they are stored; and counts records.

The cost of a window depends on the records that it returns, not on the length of the conversation.
"""

from __future__ import annotations

from collections.abc import Sequence

from chatstash.history.cache.snapshot import Snapshot
from chatstash.history.operations.contents import Contents, entries_of
from chatstash.history.records.message_types import SYSTEM_TYPES
from chatstash.history.records.places import places_key
from chatstash.history.records.record import Entry, Record
from chatstash.history.scripts.loading import call
from chatstash.history.steps.cursors import cursor_before
from chatstash.history.steps.duplicates import DuplicateSearch, distinct
from chatstash.history.steps.fetch import Fetched, fetch
from chatstash.history.steps.replies import checked_counts
from chatstash.history.steps.requests import run_script
from chatstash.history.values.options import Options
from chatstash.history.values.selection import Window
from chatstash.rest.commands import Effect
from chatstash.rest.ops import Op


def read_window(key: str, window: Window, options: Options, snapshot: Snapshot | None = None) -> Op[Contents]:
    """Read the newest records; costs and errors as `Session.read`."""
    found = yield from fetch(key, window, options, snapshot)
    search, reach = DuplicateSearch(key), window.last
    while True:
        entries, first_place = _entries_of(found, key), _first_place(found)
        if not (yield from search.must_read_again(entries, first_place, found.places)):
            kept = distinct(entries, first_place, search.left)
            wanted = window.last + len(entries) - len(kept)
            if reach >= wanted or not first_place:
                return _contents(key, window, found, kept)
            # Some are duplicates that could not be removed: read as many more.
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
        kept, found.length, found.stored,
        omitted=omitted, cursor=cursor, fetched=found, system_kept=system_kept,
    )  # fmt: skip


def system_message_in(contents: Contents, *, keep_system: bool) -> Entry | None:
    """Return the system message to keep, the first of the records that were read; None where there is none."""
    keeps = keep_system and (contents.system_kept or not contents.omitted)
    first = contents.entries[0] if keeps and contents.entries else None
    return first if first is not None and _is_system(first) else None


def _is_system(entry: Entry) -> bool:
    return isinstance(entry, Record) and entry.type in SYSTEM_TYPES


def count(key: str) -> Op[int]:
    """Count the records of a conversation without duplicates; one request, four commands, more if there may be any."""
    answer = yield from run_script(key, call("count", (key, places_key(key))), Effect.READ)
    (length,) = checked_counts(answer, 1, Effect.READ)
    return length
