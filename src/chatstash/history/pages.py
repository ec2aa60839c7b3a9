"""Reading the stored records of a conversation of any size, as an operation. Pure.

A conversation is asked for whole. Where its reply would be over the size the server permits, it is read in pages, from
the oldest record on: counted from that end, places do not move while others append. Each page repeats the newest record
of the one before it, which shows whether it joins; where it does not, for others trimmed or cleared meanwhile, reading
begins again. A page of one large record has no room for that: the record before it is asked for again after it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from chatstash.errors import ConversationChanged, ProtocolError, RequestTooLarge
from chatstash.history.lists import expect, on_list
from chatstash.rest.commands import Batch, Cost, Effect
from chatstash.rest.ops import Op, send

_MOST_BEGINNINGS = 5
_FIRST_SIZE = 256
_FILL = 0.7
"""How much of the permitted size a page aims at: records differ."""

_SIZES_IN_WORDS = r"Limit: (\d{1,18}) bytes, Actual: (\d{1,18}) bytes"


class Stored(NamedTuple):
    """The stored records of a conversation, oldest first, and what reading them cost."""

    records: Sequence[bytes]
    cost: Cost

    def __repr__(self) -> str:
        return f"Stored({len(self.records)} records, cost={self.cost!r})"


def stored_records(key: str, refresh_ttl: int | None, max_bytes: int) -> Op[Stored]:
    """Read all stored records, oldest first: one request, or several where they are over the server's limit.

    Args:
        key: The conversation's key.
        refresh_ttl: Seconds until it expires, set anew in the same request; None leaves it as it is.
        max_bytes: What a reply may have.

    Raises:
        WrongType: The key holds something else, which was left as it was.
        RequestTooLarge: One record alone is over the server's limit.
        ConversationChanged: Others trimmed or cleared it again and again meanwhile.
    """
    effect = Effect.READ if refresh_ttl is None else Effect.IDEMPOTENT
    try:
        replies = yield from on_list(key, ("LRANGE", key, 0, -1), refresh_ttl, effect)
    except RequestTooLarge as error:
        return (yield from paged(key, error, max_bytes))
    return Stored(oldest_first(replies.values[0]), replies.cost)


def paged(key: str, error: RequestTooLarge, max_bytes: int, newest: int | None = None) -> Op[Stored]:
    """Read stored records in pages, oldest first, after a request for all of them at once was refused.

    Args:
        key: The conversation's key.
        error: The refusal.
        max_bytes: What a reply may have.
        newest: How many of the newest records to read; None for all.
    """
    # The request that was refused, and the one for the length.
    replies = yield from send(Batch((("LLEN", key),)))
    length = expect(int, replies.values[0], Effect.READ)
    wanted = length if newest is None else min(newest, length)
    page = _page_of(error, max_bytes, length - wanted)
    page.choose_from(wanted)
    found = yield from _all_pages(key, page)
    return Stored(found.records, found.cost + replies.cost + Cost(requests=1, commands=1))


@dataclass(slots=True, eq=False)
class _Page:
    """How large a page may be, and how many of the oldest records are left out."""

    limit: float
    skip: int = 0
    size: int = _FIRST_SIZE
    share: float | None = None

    def choose_from(self, length: int) -> None:
        """Set out with what is known: which share of the whole may be asked for at once."""
        if self.share is not None:
            self.size = max(1, int(length * self.share))

    def shrink(self) -> None:
        self.size //= 2

    def adapt(self, count: int, received: int) -> None:
        """Choose the next page by the size of the last one."""
        if count:
            self.size = max(1, min(4 * self.size, int(_FILL * self.limit * count / max(received, 1))))


def _page_of(error: RequestTooLarge, max_bytes: int, skip: int) -> _Page:
    named = re.search(_SIZES_IN_WORDS, error.server_text or "")
    if named is None:
        return _Page(max_bytes, skip)
    limit, actual = int(named[1]), max(int(named[2]), 1)
    return _Page(min(limit, max_bytes), skip, share=_FILL * limit / actual)


def _all_pages(key: str, page: _Page) -> Op[Stored]:
    cost = Cost()
    for _ in range(_MOST_BEGINNINGS):
        records: list[bytes] = []
        joined = more = True
        while joined and more:
            joined, more, spent = yield from _next_page(key, page, records)
            cost += spent
        if joined:
            return Stored(records, cost)
    raise ConversationChanged(f"The conversation {key!r} was shortened or replaced again and again while it was read")


def _next_page(key: str, page: _Page, records: list[bytes]) -> Op[tuple[bool, bool, Cost]]:
    """Add the next page to `records`; tells whether it joined, whether there may be more, and the cost."""
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
        return True, True, Cost(requests=1, commands=1)
    found = oldest_first(replies.values[0])
    page.adapt(len(found), replies.cost.bytes_received)
    joined, cost = found[:overlap] == records[first:], replies.cost
    if records and not overlap:
        joined, spent = yield from _is_in_place(key, page.skip + len(records), records[-1])
        cost += spent
    records.extend(found[overlap:])
    return joined, len(found) == asked, cost


def _is_in_place(key: str, place: int, record: bytes) -> Op[tuple[bool, Cost]]:
    """Tell whether a record is still where it was, counted from the oldest, and the cost of asking."""
    replies = yield from send(Batch((("LRANGE", key, -place, -place),)))
    return oldest_first(replies.values[0]) == [record], replies.cost


def oldest_first(reply: object) -> list[bytes]:
    """Return the stored records of a reply to LRANGE, oldest first."""
    listed = expect(list, reply, Effect.READ)  # type: ignore[arg-type]
    if not {*map(type, listed)} <= {bytes}:
        raise ProtocolError("The database answered with a list of other things than records")
    return listed[::-1]
