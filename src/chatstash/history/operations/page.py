"""Reads a page: the records before a cursor.

The cursor's record is looked for at its place counted from the oldest, which appends do not move. If others trimmed or
removed records since, a script looks for its id, and for that of the record before it, in the whole conversation. A
record without an id cannot be looked for: another may be equal to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

from chatstash.errors import ConversationChanged, RequestTooLarge
from chatstash.frozen import dataclass
from chatstash.history.operations.contents import Contents, entries_of
from chatstash.history.records.places import Place, places_key, places_of
from chatstash.history.records.record import Entry
from chatstash.history.scripts.loading import APPEND_COUNT_INDEX, call
from chatstash.history.steps.chunks import oldest_first
from chatstash.history.steps.cursors import NO_NAME, Name, cursor_of, is_at_its_place, name_of, names_its_place
from chatstash.history.steps.duplicates import DuplicateSearch, distinct
from chatstash.history.steps.replies import checked_counts, checked_reply
from chatstash.history.steps.requests import list_command, run_script
from chatstash.history.values.results import Cursor
from chatstash.history.values.selection import NEIGHBOURS, Page
from chatstash.rest.commands import Effect
from chatstash.rest.ops import Op


def read_before(key: str, page: Page) -> Op[Contents]:
    """Read the records before a cursor. If its record was removed, the page ends at the record before it."""
    search, limit = DuplicateSearch(key), page.limit
    while True:
        found = yield from _find_page(key, page.before, limit)
        if (yield from search.must_read_again(found.entries, found.first_place, found.noted)):
            continue
        contents = _contents(found, page.limit, search.left)
        if len(contents.entries) >= page.limit or not contents.omitted or found.limit < limit:
            return contents
        # Some are duplicates that could not be removed: read as many more.
        limit += page.limit - len(contents.entries)


@dataclass(frozen=True)
class _FoundPage:
    """The records before a cursor, oldest first.

    Attributes:
        stored: Their stored form.
        newer: The records read from the cursor's record on.
        limit: How many records were asked for; fewer than the page has where more would be over the server's limit.
        position: The place of the cursor's record, 0 for the oldest: the number of records that are older.
        length: How many records the conversation has.
        entries: The records of `stored`.
        before: Name of the record just older than `stored`, if it was not read.
        noted: The noted places of batches.
    """

    stored: Sequence[bytes]
    newer: Sequence[bytes]
    limit: int
    position: int
    length: int
    entries: Sequence[Entry]
    before: Name
    noted: Mapping[str, Place] = field(default_factory=dict)

    @property
    def first_place(self) -> int:
        """The place of the oldest of them, 0 for the oldest of all."""
        return self.position - len(self.stored)


def _find_page(key: str, before: Cursor, limit: int) -> Op[_FoundPage]:
    while True:
        try:
            return (yield from _page_at_its_place(key, before, limit))
        except RequestTooLarge:
            if limit == 1:
                # Without the cursor's record, and without any older than the page.
                return (yield from _look_for_page(key, before, 1, extra=0))
            limit //= 2


def _page_at_its_place(key: str, cursor: Cursor, limit: int) -> Op[_FoundPage]:
    older = min(limit + NEIGHBOURS, cursor.position)
    first = -1 - cursor.position
    newer = max(cursor.covered - 1, 0)
    asked = ("LRANGE", key, first - newer, first + older)
    replies = yield from list_command(key, asked, None, Effect.READ, more=(("LLEN", key), ("GET", places_key(key))))
    records, length = oldest_first(replies.values[0]), checked_reply(int, replies.values[1], Effect.READ)
    if not is_at_its_place(cursor, records, older, length):
        if cursor.covered:
            return _not_found(key, cursor, length)
        return (yield from _look_for_page(key, cursor, limit, extra=NEIGHBOURS))
    entries = entries_of(records[:older], key, cursor.position - older)
    noted = places_of(replies.values[2])
    return _FoundPage(records[:older], records[older:], limit, cursor.position, length, entries, NO_NAME, noted)


def _look_for_page(key: str, cursor: Cursor, limit: int, *, extra: int) -> Op[_FoundPage]:
    place = (cursor.position, cursor.length, cursor.covered)
    script = call("read_page", (key,), cursor.digest, cursor.older, limit + extra, *place)
    answer = yield from run_script(key, script, Effect.READ, count_index=APPEND_COUNT_INDEX)
    position, length = checked_counts(answer, 2, Effect.READ)
    if position < 0:
        return _not_found(key, cursor, length)
    stored = oldest_first(answer[3])
    entries = entries_of(stored, key, position - len(stored))
    before = Name(checked_reply(bytes, answer[4], Effect.READ).decode(), answer[5] == 1)
    return _FoundPage(stored, [], limit, position, length, entries, before)


def _not_found(key: str, cursor: Cursor, length: int) -> _FoundPage:
    """Return an empty page if all records up to the cursor are gone; raise if that is uncertain."""
    if length and not names_its_place(cursor):
        raise ConversationChanged(
            f"Others trimmed, removed or edited records of {key!r} since the cursor was made, and the records around "
            "its place have no id to find it by"
        )
    return _FoundPage([], [], 0, 0, length, [], NO_NAME)


def _contents(found: _FoundPage, most: int, duplicated: Mapping[str, Place]) -> Contents:
    shown = distinct(found.entries, found.first_place, duplicated)[-min(most, found.limit) :]
    begin = next((at for at, entry in enumerate(found.entries) if shown and entry is shown[0]), 0)
    omitted = found.first_place + begin
    cursor = _further_cursor(found, begin) if omitted and found.stored else None
    return Contents(shown, found.length, [], omitted=omitted, cursor=cursor)


def _further_cursor(found: _FoundPage, begin: int) -> Cursor:
    raws = [*found.stored[begin:], *found.newer]
    older = name_of(found.stored[begin - 1]) if begin else found.before
    return cursor_of(older, raws, found.first_place + begin, found.length)
