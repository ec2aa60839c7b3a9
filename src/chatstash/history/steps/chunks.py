"""Reading the stored records of a conversation of any size, as an operation. Pure.

A conversation is asked for whole. Where its reply would be over the size the server permits, it is read in pages, from
the oldest record on: counted from that end, places do not move while others append.

Three checks make the pages one state of the conversation, and not a mixture of two:

- Each page repeats the newest record of the page before it. A page of one large record has no room for that: the record
  before it is asked for again afterwards.
- The record that was the newest before the first page is where it was, so nothing older was trimmed or removed.
- An edit in place writes another generation into the newest record that has an id. So no edit was made where that
  record has the generation it had, and no newer record has any. Where one of these records has no id, an edit may have
  left its mark further back: then the conversation is read until two readings agree.

Where a check fails, reading begins again.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from chatstash.errors import ConversationChanged, ProtocolError, RequestTooLarge
from chatstash.history.records.generation import has_generation
from chatstash.history.records.identity import has_id
from chatstash.history.steps.lists import expect, on_list
from chatstash.rest.commands import Batch, Effect
from chatstash.rest.ops import Op, send

_MOST_BEGINNINGS = 5
_FIRST_SIZE = 256
_FILL = 0.7
"""How much of the permitted size a page aims at: records differ."""

_SIZES_IN_WORDS = r"Limit: (\d{1,18}) bytes, Actual: (\d{1,18}) bytes"


def stored_records(key: str, refresh_ttl: int | None, max_bytes: int) -> Op[Sequence[bytes]]:
    """Read all stored records, oldest first: one request, or several where they are over the server's limit.

    Args:
        key: The conversation's key.
        refresh_ttl: Seconds until it expires, set anew in the same request; None leaves it as it is.
        max_bytes: What a reply may have.

    Raises:
        WrongType: The key holds something else; its value was not changed.
        RequestTooLarge: One record alone is over the server's limit.
        ConversationChanged: Others trimmed, cleared or edited it again and again meanwhile.
    """
    effect = Effect.READ if refresh_ttl is None else Effect.IDEMPOTENT
    try:
        replies = yield from on_list(key, ("LRANGE", key, 0, -1), refresh_ttl, effect)
    except RequestTooLarge as error:
        return (yield from paged(key, error, max_bytes)).records
    return oldest_first(replies.values[0])


class Paged(NamedTuple):
    """What was read in pages.

    Attributes:
        records: The newest stored records, or all, oldest first.
        length: How many there were in all.
        oldest: The oldest of all, where it was asked for and there is one.
    """

    records: Sequence[bytes]
    length: int
    oldest: bytes | None = None

    def __repr__(self) -> str:
        return f"Paged({len(self.records)} of {self.length} records)"


def paged(
    key: str, error: RequestTooLarge, max_bytes: int, newest: int | None = None, *, with_oldest: bool = False
) -> Op[Paged]:
    """Read stored records in pages, oldest first, after a request for all of them at once was refused.

    Args:
        key: The conversation's key.
        error: The refusal.
        max_bytes: What a reply may have.
        newest: How many of the newest records to read at least; None for all.
        with_oldest: Whether the oldest record of all is read as well.

    Raises:
        RequestTooLarge: One record alone is over the server's limit.
        ConversationChanged: Others trimmed, cleared or edited it again and again meanwhile.
    """
    page = _page_of(error, max_bytes)
    before: Paged | None = None
    for _ in range(_MOST_BEGINNINGS):
        look = yield from _look(key)
        if before is None:
            page.begin(look.length, newest)
        found = yield from _all_pages(key, page, with_oldest=with_oldest)
        seen = _Seen.CHANGE if found is None else look.compare(found.records, page.skip)
        if found is not None and seen is _Seen.NO_CHANGE:
            return found
        if before is not None and found is not None and seen is _Seen.UNSURE and _agree(before, found):
            # What is newer was read only once.
            return before
        before = found if seen is _Seen.UNSURE else None
    raise ConversationChanged(
        f"The conversation {key!r} was trimmed, replaced or edited again and again while it was read in pages"
    )


def _agree(before: Paged, later: Paged) -> bool:
    """Tell whether a later reading shows all that the one before it showed, at the same places."""
    return before.oldest == later.oldest and later.records[: len(before.records)] == before.records


class _Seen(enum.Enum):
    """What two looks at the newest record tell of the time between them."""

    NO_CHANGE = enum.auto()
    CHANGE = enum.auto()
    UNSURE = enum.auto()


class _Look(NamedTuple):
    """What a conversation was just before its first page: its length, and its newest record where that can be read."""

    length: int
    newest: bytes | None

    def compare(self, records: Sequence[bytes], skip: int) -> _Seen:
        """Tell whether others did more than append while `records` were read, all but the oldest `skip`."""
        place = self.length - skip - 1
        if place >= len(records) or 0 < skip >= self.length:
            return _Seen.CHANGE
        if self.newest is None or place < 0:
            return _Seen.UNSURE
        if records[place] != self.newest or any(map(has_generation, records[place + 1 :])):
            return _Seen.CHANGE
        return _Seen.NO_CHANGE if all(map(has_id, records[place:])) else _Seen.UNSURE


def _look(key: str) -> Op[_Look]:
    # The length first: what is appended in between is then no record that was there before.
    try:
        replies = yield from on_list(key, ("LLEN", key), None, Effect.READ, more=(("LRANGE", key, 0, 0),))
    except RequestTooLarge:
        replies = yield from on_list(key, ("LLEN", key), None, Effect.READ)
        return _Look(expect(int, replies.values[0], Effect.READ), None)
    newest = oldest_first(replies.values[1])
    return _Look(expect(int, replies.values[0], Effect.READ), newest[0] if newest else None)


def _record_at(key: str, index: int) -> Op[bytes | None]:
    replies = yield from send(Batch((("LINDEX", key, index),)))
    reply = replies.values[0]
    return None if reply is None else expect(bytes, reply, Effect.READ)


@dataclass(slots=True, eq=False)
class _Page:
    """How large a page may be, and how many of the oldest records are left out."""

    limit: float
    share: float | None = None
    skip: int = 0
    size: int = _FIRST_SIZE

    def begin(self, length: int, newest: int | None) -> None:
        """Set out with what is known: how many there are, and which share of the whole may be asked for at once."""
        wanted = length if newest is None else min(newest, length)
        self.skip = length - wanted
        if self.share is not None:
            self.size = max(1, int(wanted * self.share))

    def shrink(self) -> None:
        self.size //= 2

    def adapt(self, count: int, received: int) -> None:
        """Choose the next page by the size of the last one."""
        if count:
            self.size = max(1, min(4 * self.size, int(_FILL * self.limit * count / max(received, 1))))


def _page_of(error: RequestTooLarge, max_bytes: int) -> _Page:
    named = re.search(_SIZES_IN_WORDS, error.server_text or "")
    if named is None:
        return _Page(max_bytes)
    limit, actual = int(named[1]), max(int(named[2]), 1)
    return _Page(min(limit, max_bytes), _FILL * limit / actual)


def _all_pages(key: str, page: _Page, *, with_oldest: bool) -> Op[Paged | None]:
    """Read all pages; None where one does not join the one before it."""
    oldest = (yield from _record_at(key, -1)) if with_oldest and page.skip else None
    records: list[bytes] = []
    joined = more = True
    while joined and more:
        joined, more = yield from _next_page(key, page, records)
    if with_oldest and not page.skip and records:
        oldest = records[0]
    return Paged(records, page.skip + len(records), oldest) if joined else None


def _next_page(key: str, page: _Page, records: list[bytes]) -> Op[tuple[bool, bool]]:
    """Add the next page to `records`; tells whether it joined, and whether there may be more."""
    # Two of the largest records may be over the limit together: a page of one does without.
    overlap = 1 if records and page.size > 1 else 0
    first = len(records) - overlap
    asked = page.size + overlap
    newer = page.skip + first
    try:
        replies = yield from send(Batch((("LRANGE", key, -newer - asked, -newer - 1),)))
    except RequestTooLarge as error:
        if page.size == 1:
            position = page.skip + len(records)
            error.problem = f"The record at position {position} (0 is the oldest) of {key!r} is too large to be read"
            raise
        page.shrink()
        return True, True
    found = oldest_first(replies.values[0])
    page.adapt(len(found), replies.cost.bytes_received)
    joined = found[:overlap] == records[first:]
    if records and not overlap:
        joined = (yield from _record_at(key, -newer)) == records[-1]
    records.extend(found[overlap:])
    return joined, len(found) == asked


def oldest_first(reply: object) -> list[bytes]:
    """Return the stored records of a reply to LRANGE, oldest first."""
    listed = expect(list, reply, Effect.READ)  # type: ignore[arg-type]
    if not {*map(type, listed)} <= {bytes}:
        raise ProtocolError("The database answered with a list of other things than records")
    return listed[::-1]
