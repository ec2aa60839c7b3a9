"""Reads the stored records of a conversation of any size.

One request asks for the whole conversation. If the reply would be over the server's limit, the records are read in
chunks, from the oldest on: counted from that end, places do not move while others append.

Three checks make sure that the chunks show one state of the conversation:

- Each chunk repeats the newest record of the chunk before it. A chunk of one large record has no room for that: the
  record before it is read again afterwards.
- The record that was the newest before the first chunk is still at its place, so no older record was trimmed or
  removed.
- An edit in place writes another generation into the newest record that has an id. So no edit was made if that record
  has the same generation as before, and no newer record has any. If one of these records has no id, an edit may have
  marked an older one: then the conversation is read until two readings agree.

If a check fails, reading starts again.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from typing import NamedTuple

from chatstash.errors import ConversationChanged, ProtocolError, RequestTooLarge
from chatstash.history.records.generation import has_generation
from chatstash.history.records.identity import has_id
from chatstash.history.steps.replies import checked_reply
from chatstash.history.steps.requests import list_command
from chatstash.rest.commands import Batch, Effect
from chatstash.rest.ops import Op, send

_MOST_READINGS = 5
_FIRST_SIZE = 256
_FILL = 0.7
"""How much of the permitted size to aim at: records differ in size."""

_SIZES_IN_WORDS = r"Limit: (\d{1,18}) bytes, Actual: (\d{1,18}) bytes"


def stored_records(key: str, refresh_ttl: int | None, max_bytes: int) -> Op[Sequence[bytes]]:
    """Read all stored records, oldest first: one request, or several if the reply would be over the server's limit."""
    effect = Effect.READ if refresh_ttl is None else Effect.IDEMPOTENT
    try:
        replies = yield from list_command(key, ("LRANGE", key, 0, -1), refresh_ttl, effect)
    except RequestTooLarge as error:
        return (yield from chunked(key, error, max_bytes)).records
    return oldest_first(replies.values[0])


class Chunked(NamedTuple):
    """Stored records that were read in chunks.

    Attributes:
        records: The newest stored records, or all, oldest first.
        length: How many records the conversation had.
        oldest: The oldest record of the conversation, if it was asked for and there is one.
    """

    records: Sequence[bytes]
    length: int
    oldest: bytes | None = None

    def __repr__(self) -> str:
        return f"Chunked({len(self.records)} of {self.length} records)"


def chunked(
    key: str, error: RequestTooLarge, max_bytes: int, newest: int | None = None, *, with_oldest: bool = False
) -> Op[Chunked]:
    """Read stored records in chunks, oldest first, after the server refused to return them at once."""
    chunk = _chunk_after(error, max_bytes)
    before: Chunked | None = None
    for _ in range(_MOST_READINGS):
        start = yield from _start(key)
        if before is None:
            chunk.begin(start.length, newest)
        found = yield from _all_chunks(key, chunk, with_oldest=with_oldest)
        seen = _Seen.CHANGE if found is None else start.compare(found.records, chunk.skip)
        if found is not None and seen is _Seen.NO_CHANGE:
            return found
        if before is not None and found is not None and seen is _Seen.UNSURE and _agree(before, found):
            # The later reading may have newer records, which were read only once.
            return before
        before = found if seen is _Seen.UNSURE else None
    raise ConversationChanged(
        f"Others kept trimming, replacing or editing the conversation {key!r} while it was read in several requests"
    )


def _agree(before: Chunked, later: Chunked) -> bool:
    """Tell whether a later reading has all records of the one before it, at the same places."""
    return before.oldest == later.oldest and later.records[: len(before.records)] == before.records


class _Seen(enum.Enum):
    """Whether the conversation changed during a reading, other than by appends."""

    NO_CHANGE = enum.auto()
    CHANGE = enum.auto()
    UNSURE = enum.auto()


class _Start(NamedTuple):
    """A conversation just before its first chunk is read.

    Attributes:
        length: How many records it has.
        newest: Its newest record; None where it has none, or that is too large to be read together with the length.
    """

    length: int
    newest: bytes | None

    def compare(self, records: Sequence[bytes], skip: int) -> _Seen:
        """Tell whether others did more than append while `records`, all but the oldest `skip`, were read."""
        place = self.length - skip - 1
        if place >= len(records) or 0 < skip >= self.length:
            return _Seen.CHANGE
        if self.newest is None or place < 0:
            return _Seen.UNSURE
        if records[place] != self.newest or any(map(has_generation, records[place + 1 :])):
            return _Seen.CHANGE
        return _Seen.NO_CHANGE if all(map(has_id, records[place:])) else _Seen.UNSURE


def _start(key: str) -> Op[_Start]:
    # The length first: a record that is appended in between then lies beyond it.
    try:
        replies = yield from list_command(key, ("LLEN", key), None, Effect.READ, more=(("LRANGE", key, 0, 0),))
    except RequestTooLarge:
        replies = yield from list_command(key, ("LLEN", key), None, Effect.READ)
        return _Start(checked_reply(int, replies.values[0], Effect.READ), None)
    newest = oldest_first(replies.values[1])
    return _Start(checked_reply(int, replies.values[0], Effect.READ), newest[0] if newest else None)


def _record_at(key: str, index: int) -> Op[bytes | None]:
    replies = yield from send(Batch((("LINDEX", key, index),)))
    reply = replies.values[0]
    return None if reply is None else checked_reply(bytes, reply, Effect.READ)


class _Chunk:
    """The size of the next chunk.

    Attributes:
        limit: The maximum size of a reply, in bytes.
        share: The share of the wanted records that one reply holds, where the server told its size; None if unknown.
        skip: How many of the oldest records are left out.
        size: How many records the next chunk has.
    """

    def __init__(self, limit: float, share: float | None = None) -> None:
        self.limit = limit
        self.share = share
        self.skip = 0
        self.size = _FIRST_SIZE

    def begin(self, length: int, newest: int | None) -> None:
        """Choose the first chunk by the length of the conversation."""
        wanted = length if newest is None else min(newest, length)
        self.skip = length - wanted
        if self.share is not None:
            self.size = max(1, int(wanted * self.share))

    def shrink(self) -> None:
        self.size //= 2

    def adapt(self, count: int, received: int) -> None:
        """Choose the next chunk by the size of the last one: how many records and bytes it had."""
        if count:
            self.size = max(1, min(4 * self.size, int(_FILL * self.limit * count / max(received, 1))))


def _chunk_after(error: RequestTooLarge, max_bytes: int) -> _Chunk:
    named = re.search(_SIZES_IN_WORDS, error.server_text or "")
    if named is None:
        return _Chunk(max_bytes)
    limit, actual = int(named[1]), max(int(named[2]), 1)
    return _Chunk(min(limit, max_bytes), _FILL * limit / actual)


def _all_chunks(key: str, chunk: _Chunk, *, with_oldest: bool) -> Op[Chunked | None]:
    """Read all chunks; None where one does not join the one before it."""
    oldest = (yield from _record_at(key, -1)) if with_oldest and chunk.skip else None
    records: list[bytes] = []
    joined = more = True
    while joined and more:
        joined, more = yield from _next_chunk(key, chunk, records)
    if with_oldest and not chunk.skip and records:
        oldest = records[0]
    return Chunked(records, chunk.skip + len(records), oldest) if joined else None


def _next_chunk(key: str, chunk: _Chunk, records: list[bytes]) -> Op[tuple[bool, bool]]:
    """Add the next chunk to `records`; tells whether it joined, and whether there may be more."""
    # Two of the largest records may be over the limit together: a chunk of one has no overlap.
    overlap = 1 if records and chunk.size > 1 else 0
    first = len(records) - overlap
    asked = chunk.size + overlap
    newer = chunk.skip + first
    try:
        replies = yield from send(Batch((("LRANGE", key, -newer - asked, -newer - 1),)))
    except RequestTooLarge as error:
        if chunk.size == 1:
            position = chunk.skip + len(records)
            error.problem = f"The record at position {position} (0 is the oldest) of {key!r} is too large to be read"
            raise
        chunk.shrink()
        return True, True
    found = oldest_first(replies.values[0])
    chunk.adapt(len(found), replies.cost.bytes_received)
    joined = found[:overlap] == records[first:]
    if records and not overlap:
        joined = (yield from _record_at(key, -newer)) == records[-1]
    records.extend(found[overlap:])
    return joined, len(found) == asked


def oldest_first(reply: object) -> list[bytes]:
    """Return the stored records of a reply to LRANGE, oldest first."""
    listed = checked_reply(list, reply, Effect.READ)  # type: ignore[arg-type]
    if not {*map(type, listed)} <= {bytes}:
        raise ProtocolError("The database answered with a list that holds other values than records")
    return listed[::-1]
