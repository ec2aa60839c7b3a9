"""Reading the newest records, or those before a cursor, as operations. Pure.

What they cost depends on what they return, and not on what is stored.

A window is what a model is given: it never begins with a tool's result whose call is cut off. A page is what a person
is shown: just the records before a cursor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import dropwhile

from chatstash.errors import UnreadableRecord
from chatstash.history import scripts
from chatstash.history.fetch import Fetched, fetch
from chatstash.history.generation import without_generation
from chatstash.history.known import Known
from chatstash.history.lists import counts, expect, on_list, run_script
from chatstash.history.message_types import SYSTEM_TYPES, TOOL_TYPES
from chatstash.history.options import Options
from chatstash.history.pages import oldest_first
from chatstash.history.reads import Contents, entries_of, newest_of
from chatstash.history.records import Record
from chatstash.history.results import Cursor
from chatstash.history.selection import Page, Window
from chatstash.history.twins import suspects, take_out, without_twins
from chatstash.rest.commands import Cost, Effect
from chatstash.rest.ops import Op

_Entries = Sequence[Record | UnreadableRecord]


def read_window(key: str, window: Window, options: Options, known: Known | None = None) -> Op[Contents]:
    """Read the newest records; one request, two commands, one more to keep the system message and to refresh the ttl.

    Where enough is known, another command more. More requests where that holds no longer, where the reply would be over
    the server's limit, or where a record may be a late copy: its oldest copy may be outside the window.

    Raises:
        WrongType: The key holds something else, which was left as it was.
        RequestTooLarge: One record alone is over the server's limit.
    """
    found = yield from fetch(key, window, options, known)
    entries = _entries_of(found, key)
    spent = yield from _clean(key, found.stored, entries, options)
    if spent is not None:
        before = found.cost + spent
        found = yield from fetch(key, window, options)
        found, entries = found._replace(cost=before + found.cost), _entries_of(found, key)
    return _contents(key, window, found, entries)


def _entries_of(found: Fetched, key: str) -> _Entries:
    return entries_of(found.stored, key, found.length - len(found.stored))


def _clean(key: str, stored: Sequence[bytes], entries: _Entries, options: Options) -> Op[Cost | None]:
    """Take out what is a late copy; the cost, or None where there was none."""
    twins = list(dict.fromkeys([*without_twins(entries)[1], *suspects(entries)]))
    if not twins:
        return None
    taken = yield from take_out(key, stored, twins, options.max_request_bytes)
    return taken.cost if taken.removed else None


def _contents(key: str, window: Window, found: Fetched, entries: _Entries) -> Contents:
    entries, _ = without_twins(entries)
    cut = max(0, len(found.stored) - window.last)
    kept = list(dropwhile(is_tool_result, entries[cut:]))
    omitted = found.length - len(kept)
    cursor = _cursor_of(kept) if omitted else None
    system = entries_of([found.first], key) if omitted and found.first is not None else []
    system_kept = any(map(is_system, system))
    if system_kept:
        kept, omitted = [*system, *kept], omitted - 1
    return Contents(kept, found.length, newest_of(found.stored), found.cost, omitted, cursor, found, system_kept)


def is_system(entry: Record | UnreadableRecord) -> bool:
    """Tell whether it is a system message."""
    return isinstance(entry, Record) and entry.type in SYSTEM_TYPES


def is_tool_result(entry: Record | UnreadableRecord) -> bool:
    """Tell whether it is the result of a tool, which goes with a call before it."""
    return isinstance(entry, Record) and entry.type in TOOL_TYPES


def _cursor_of(kept: _Entries) -> Cursor | None:
    """Return the cursor before the oldest of the newest records."""
    return cursor_at(kept[0], len(kept) - 1) if kept else None


def cursor_at(entry: Record | UnreadableRecord, index: int) -> Cursor:
    """Return the cursor before a record at a place, 0 for the newest."""
    return Cursor(index, _name_of(entry.raw), entry.rid if isinstance(entry, Record) else None)


def _name_of(raw: bytes) -> str:
    return scripts.digest_of(without_generation(raw))


def read_before(key: str, page: Page, options: Options) -> Op[Contents]:
    """Read the records before a cursor; one request and two commands, and another where others appended meanwhile.

    Where the cursor's record is gone, for others trimmed or cleared, nothing older is there either: the page is empty.
    One more request where a record may be a late copy, and where it was one, the page is read again.

    Raises:
        WrongType: The key holds something else, which was left as it was.
        RequestTooLarge: The page is over the server's limit; ask for fewer.
    """
    found = yield from _find_page(key, page)
    spent = yield from _clean(key, found.stored, found.entries, options)
    if spent is not None:
        before = found.cost + spent
        found = yield from _find_page(key, page)
        found = replace(found, cost=before + found.cost)
    return _page_contents(found)


@dataclass(frozen=True, slots=True, eq=False)
class _FoundPage:
    """Records as they are stored and as they are read, oldest first, without the cursor's.

    The first `beyond` of them are beyond the page: by its older neighbour a late copy is known. `index` is the place of
    the newest, 0 for the newest of all; `length` how many there are in all.
    """

    stored: Sequence[bytes]
    entries: _Entries
    beyond: int
    index: int
    length: int
    cost: Cost


def _find_page(key: str, page: Page) -> Op[_FoundPage]:
    cursor, limit = page.before, page.limit + 1
    asked = ("LRANGE", key, cursor.index, cursor.index + limit)
    replies = yield from on_list(key, asked, None, Effect.READ, more=(("LLEN", key),))
    *older, at_cursor = oldest_first(replies.values[0]) or [b""]
    if _name_of(at_cursor) == cursor.digest:
        length = expect(int, replies.values[1], Effect.READ)
        return _found_page(key, page, older, index=cursor.index + 1, length=length, cost=replies.cost)
    paging = scripts.paging(key, cursor.digest, limit)
    answer, cost = yield from run_script(key, paging, Effect.READ, ran_at=scripts.APPEND_RAN_AT)
    index, length = counts(answer, 2, Effect.READ)
    cost += replies.cost
    if index < 0:
        return _FoundPage([], [], 0, 0, 0, cost)
    return _found_page(key, page, oldest_first(answer[3]), index=index + 1, length=length, cost=cost)


def _found_page(key: str, page: Page, older: Sequence[bytes], *, index: int, length: int, cost: Cost) -> _FoundPage:
    length = max(length, index + len(older))
    entries = entries_of(older, key, length - index - len(older))
    return _FoundPage(older, entries, max(0, len(older) - page.limit), index, length, cost)


def _page_contents(found: _FoundPage) -> Contents:
    count_on_page = len(found.stored) - found.beyond
    omitted = found.length - found.index - count_on_page
    entries, _ = without_twins(found.entries[found.beyond :])
    cursor = cursor_at(entries[0], found.index + count_on_page - 1) if omitted and entries else None
    return Contents(entries, found.length, [], found.cost, omitted, cursor)


def count(key: str) -> Op[tuple[int, Cost]]:
    """Count the records of a conversation, but not late copies among the newest hundred; one request, 3 commands.

    Raises:
        WrongType: The key holds something else, which was left as it was.
    """
    answer, cost = yield from run_script(key, scripts.counting(key), Effect.READ)
    (length,) = counts(answer, 1, Effect.READ)
    return length, cost
