"""Reading the records before a cursor, as an operation: what a person is shown who looks further back. Pure.

A cursor's record is looked for at its place counted from the oldest, which appends do not move. Where something else is
there, for others trimmed or removed records, a script looks for it in the whole conversation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chatstash.errors import ConversationChanged, RequestTooLarge, UnreadableRecord
from chatstash.history import scripts
from chatstash.history.identity import has_id, identity
from chatstash.history.lists import counts, expect, on_list, run_script
from chatstash.history.options import Options
from chatstash.history.pages import oldest_first
from chatstash.history.reads import Contents, entries_of
from chatstash.history.records import Record
from chatstash.history.results import Cursor
from chatstash.history.selection import Page
from chatstash.history.twins import suspects, take_out, without_twins
from chatstash.rest.commands import Effect
from chatstash.rest.ops import Op

_Entries = Sequence[Record | UnreadableRecord]

_MOST_NEWER = 4
"""How many neighbours tell a record without an id from others that are equal to it."""

_NOTHING = "0" * 40
"""In place of a digest: there is no such record."""

_SEVERAL = -2


def cursor_before(entries: _Entries, at: int, length: int) -> Cursor | None:
    """Return the cursor before one of the newest records; None where that is none of them.

    Args:
        entries: The newest records, oldest first.
        at: Which of them.
        length: How many records the conversation has.
    """
    if at >= len(entries):
        return None
    raws = [entry.raw for entry in entries[at : at + 1 + _MOST_NEWER]]
    return _cursor(raws, entries[at - 1].raw if at else None, length - len(entries) + at, length)


def _cursor(raws: Sequence[bytes], older: bytes | None, position: int, length: int) -> Cursor:
    """Return the cursor before the first of some records, given the one before it, its place, and the length."""
    known_by = raws[:1] if has_id(raws[0]) else raws
    return Cursor(
        position, length, len(known_by) - 1, _digest(known_by), _NOTHING if older is None else _digest([older])
    )


def _digest(raws: Sequence[bytes]) -> str:
    digests = [scripts.digest_of(identity(raw)) for raw in raws]
    return digests[0] if len(digests) == 1 else scripts.digest_of("".join(digests).encode())


def read_before(key: str, page: Page, options: Options) -> Op[Contents]:
    """Read the records before a cursor; one request and two commands.

    One request more where others trimmed or removed records since. Where the cursor's record is gone, reading goes on
    at the one before it; where that is gone as well, others trimmed or cleared the conversation, and the page is empty.
    A page that would be over the server's limit is shorter. One more request where a record may be a duplicate, and
    where it was one, the page is read again.

    Raises:
        WrongType: The key holds something else, which was left as it was.
        ConversationChanged: Others trimmed or removed records, and several that have no id may be the cursor's.
        RequestTooLarge: One record alone is over the server's limit.
    """
    found = yield from _find_page(key, page)
    if (yield from remove_duplicates(key, found.stored, found.entries, options)):
        found = yield from _find_page(key, page)
    return _contents(found)


def remove_duplicates(key: str, stored: Sequence[bytes], entries: _Entries, options: Options) -> Op[bool]:
    """Remove what a late request left among some records; tells whether it removed anything."""
    twins = list(dict.fromkeys([*without_twins(entries)[1], *suspects(entries)]))
    if not twins:
        return False
    taken = yield from take_out(key, stored, twins, options.max_request_bytes)
    return taken.removed > 0


@dataclass(frozen=True, slots=True, eq=False)
class _FoundPage:
    """The records before a cursor, oldest first.

    Attributes:
        stored: Their stored form.
        newer: The records after them, as far as they are known; the first is the cursor's.
        beyond: How many of the oldest are beyond the page: a duplicate is known by its older neighbour.
        position: The place of the cursor's record, 0 for the oldest: the number of records that are older.
        length: How many records the conversation has.
        entries: What is read of `stored`.
    """

    stored: Sequence[bytes]
    newer: Sequence[bytes]
    beyond: int
    position: int
    length: int
    entries: _Entries


def _find_page(key: str, page: Page) -> Op[_FoundPage]:
    limit = page.limit
    while True:
        try:
            return (yield from _page_at_its_place(key, page.before, limit))
        except RequestTooLarge:
            if limit == 1:
                # Without the cursor's record, and without one beyond the page.
                return (yield from _look_for_page(key, page.before, 1, beyond=0))
            limit //= 2


def _page_at_its_place(key: str, cursor: Cursor, limit: int) -> Op[_FoundPage]:
    older = min(limit + 1, cursor.position)
    first = -1 - cursor.position
    asked = ("LRANGE", key, first - cursor.newer, first + older)
    replies = yield from on_list(key, asked, None, Effect.READ, more=(("LLEN", key),))
    records, length = oldest_first(replies.values[0]), expect(int, replies.values[1], Effect.READ)
    if not _is_at_its_place(cursor, records, older, length):
        return (yield from _look_for_page(key, cursor, limit, beyond=1))
    entries = entries_of(records[:older], key, cursor.position - older)
    return _FoundPage(records[:older], records[older:], max(0, older - limit), cursor.position, length, entries)


def _is_at_its_place(cursor: Cursor, records: Sequence[bytes], at: int, length: int) -> bool:
    if len(records) != at + 1 + cursor.newer or _digest(records[at:]) != cursor.digest:
        return False
    # Nothing was trimmed or removed that could have moved an equal record there.
    unmoved = length >= cursor.length and (not at or cursor.older in {_NOTHING, _digest(records[at - 1 : at])})
    return has_id(records[at]) or unmoved


def _look_for_page(key: str, cursor: Cursor, limit: int, *, beyond: int) -> Op[_FoundPage]:
    paging = scripts.paging(key, cursor, limit + beyond)
    answer, _ = yield from run_script(key, paging, Effect.READ, ran_at=scripts.APPEND_RAN_AT)
    position, length = counts(answer, 2, Effect.READ)
    if position == _SEVERAL:
        raise ConversationChanged(
            f"Others trimmed or removed records of {key!r} since the cursor was made, and several records that have no "
            "id are equal to the cursor's, so its place cannot be told"
        )
    stored, position = oldest_first(answer[3]), max(position, 0)
    entries = entries_of(stored, key, position - len(stored))
    return _FoundPage(stored, [], max(0, len(stored) - limit), position, length, entries)


def _contents(found: _FoundPage) -> Contents:
    entries, _ = without_twins(found.entries[found.beyond :])
    omitted = found.position - len(found.stored) + found.beyond
    cursor = _further_cursor(found, omitted) if omitted and entries else None
    return Contents(entries, found.length, [], omitted=omitted, cursor=cursor)


def _further_cursor(found: _FoundPage, omitted: int) -> Cursor:
    raws = [*found.stored[found.beyond :], *found.newer][: 1 + _MOST_NEWER]
    older = found.stored[found.beyond - 1] if found.beyond else None
    return _cursor(raws, older, omitted, found.length)
