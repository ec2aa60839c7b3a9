"""Reading the newest records, or those before a cursor, as operations. Pure.

What they cost depends on what they return, and not on what is stored.

A window is what a model is given: it never begins with a tool's result whose call is cut off. A page is what a person
is shown: just the records before a cursor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import dropwhile
from types import MappingProxyType

from chatstash.errors import UnreadableRecord
from chatstash.history import scripts
from chatstash.history.duplicates import distinct, places_key, places_of, remove_duplicates, suspects
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
from chatstash.rest.commands import Cost, Effect
from chatstash.rest.ops import Op

_Entries = Sequence[Record | UnreadableRecord]


def read_window(key: str, window: Window, options: Options, known: Known | None = None) -> Op[Contents]:
    """Read the newest records; one request, three commands, one more to keep the system message, to refresh the ttl.

    Where enough is known, another command more. More requests where that holds no longer, where the reply would be over
    the server's limit, or where a record may be a duplicate of one outside the window.

    Raises:
        WrongType: The key holds something else, which was left as it was.
        RequestTooLarge: One record alone is over the server's limit.
    """
    found = yield from fetch(key, window, options, known)
    entries = _entries_of(found, key)
    batches = suspects(entries, _first_place(found), found.places)
    if not batches:
        return _contents(key, window, found, entries)
    return (yield from _read_distinct(key, window, options, found, batches))


def _read_distinct(key: str, window: Window, options: Options, found: Fetched, batches: Sequence[str]) -> Op[Contents]:
    """Remove duplicates and read the window again; where they cannot be removed, as far back as it takes."""
    removal = yield from remove_duplicates(key, batches)
    cost, reach = found.cost + removal.cost, window.last
    must_fetch = removal.removed > 0 or bool(removal.left)
    while True:
        if must_fetch:
            found = yield from fetch(key, window._replace(last=reach), options)
            cost += found.cost
        entries = _entries_of(found, key)
        kept = distinct(entries, _first_place(found), removal.left)
        wanted = window.last + len(entries) - len(kept)
        must_fetch = reach < wanted and len(found.stored) < found.length
        if not must_fetch:
            return _contents(key, window, found._replace(cost=cost), kept)
        reach = wanted


def _first_place(found: Fetched) -> int:
    return found.length - len(found.stored)


def _entries_of(found: Fetched, key: str) -> _Entries:
    return entries_of(found.stored, key, _first_place(found))


def _contents(key: str, window: Window, found: Fetched, entries: _Entries) -> Contents:
    length = found.length - len(found.stored) + len(entries)
    kept = list(dropwhile(is_tool_result, entries[max(0, len(entries) - window.last) :]))
    omitted = length - len(kept)
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


def read_before(key: str, page: Page) -> Op[Contents]:
    """Read the records before a cursor; one request and three commands, and another where others appended meanwhile.

    Where the cursor's record is gone, for others trimmed or cleared, nothing older is there either: the page is empty.
    One more request where a record may be a duplicate, and where it was one, the page is read again.

    Raises:
        WrongType: The key holds something else, which was left as it was.
        RequestTooLarge: The page is over the server's limit; ask for fewer.
    """
    found = yield from _find_page(key, page)
    batches = suspects(found.entries, found.first_place, found.noted)
    if not batches:
        return _page_contents(found)
    removal = yield from remove_duplicates(key, batches)
    cost = found.cost + removal.cost
    if removal.removed:
        found = yield from _find_page(key, page)
        cost += found.cost
    return _page_contents(replace(found, cost=cost), removal.left)


@dataclass(frozen=True, slots=True, eq=False)
class _FoundPage:
    """Records as they are stored and as they are read, oldest first, without the cursor's.

    The first `beyond` of them are beyond the page: a duplicate may be known by its older neighbour. `index` is where
    the newest stands, 0 for the newest of all; `length` how many there are in all; `noted` where batches were noted to
    stand that may have duplicates.
    """

    stored: Sequence[bytes]
    entries: _Entries
    beyond: int
    index: int
    length: int
    cost: Cost
    noted: Mapping[str, int]

    @property
    def first_place(self) -> int:
        """The place of the oldest, 0 for the oldest of all."""
        return self.length - self.index - len(self.stored)


def _find_page(key: str, page: Page) -> Op[_FoundPage]:
    cursor, limit = page.before, page.limit + 1
    asked = ("LRANGE", key, cursor.index, cursor.index + limit)
    replies = yield from on_list(key, asked, None, Effect.READ, more=(("LLEN", key), ("GET", places_key(key))))
    noted = places_of(replies.values[2])
    *older, at_cursor = oldest_first(replies.values[0]) or [b""]
    if _name_of(at_cursor) == cursor.digest:
        length = expect(int, replies.values[1], Effect.READ)
        return _found_page(key, page, older, index=cursor.index + 1, length=length, cost=replies.cost, noted=noted)
    paging = scripts.paging(key, cursor.digest, limit)
    answer, cost = yield from run_script(key, paging, Effect.READ, ran_at=scripts.APPEND_RAN_AT)
    index, length = counts(answer, 2, Effect.READ)
    cost += replies.cost
    if index < 0:
        return _FoundPage([], [], 0, 0, 0, cost, noted)
    return _found_page(key, page, oldest_first(answer[3]), index=index + 1, length=length, cost=cost, noted=noted)


def _found_page(
    key: str,
    page: Page,
    older: Sequence[bytes],
    *,
    index: int,
    length: int,
    cost: Cost,
    noted: Mapping[str, int],
) -> _FoundPage:
    length = max(length, index + len(older))
    entries = entries_of(older, key, length - index - len(older))
    return _FoundPage(older, entries, max(0, len(older) - page.limit), index, length, cost, noted)


def _page_contents(found: _FoundPage, places: Mapping[str, int] = MappingProxyType({})) -> Contents:
    count_on_page = len(found.stored) - found.beyond
    omitted = found.length - found.index - count_on_page
    entries = distinct(found.entries[found.beyond :], found.first_place + found.beyond, places)
    cursor = cursor_at(entries[0], found.index + count_on_page - 1) if omitted and entries else None
    return Contents(entries, found.length, [], found.cost, omitted, cursor)


def count(key: str) -> Op[tuple[int, Cost]]:
    """Count the records of a conversation without duplicates; one request, four commands, more where there may be some.

    Raises:
        WrongType: The key holds something else, which was left as it was.
    """
    answer, cost = yield from run_script(key, scripts.counting(key, places_key(key)), Effect.READ)
    (length,) = counts(answer, 1, Effect.READ)
    return length, cost
