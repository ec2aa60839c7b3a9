"""Appends over the size of a request: put part by part under keys that expire, to be moved in one step. Pure."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence

import orjson

from chatstash.errors import Applied, DatabaseError, QuotaExceeded, RecordTooLarge, RequestTooLarge
from chatstash.history.keys import companion_key
from chatstash.rest.commands import Batch, Cost, Effect
from chatstash.rest.ops import Op, send

TTL = 3600
"""Seconds for which parts are kept that were never moved."""

_MOST_BYTES_OF_A_CHARACTER = 6
_SCRIPT_ROOM = 8192
_LIMIT_IN_WORDS = re.compile(r"Limit: (\d{1,18}) bytes")


def fits(key: str, texts: Sequence[str], limit: int) -> bool:
    """Tell whether an append, or the script that settles it, is within the size of a request.

    Raises:
        RecordTooLarge: One record alone is not.
    """
    room = limit - _room_besides(key)
    if sum(map(len, texts)) * _MOST_BYTES_OF_A_CHARACTER <= room:
        return True
    sizes = list(map(_size, texts))
    for index, size in enumerate(sizes):
        if size > room:
            raise RecordTooLarge(index, size + _room_besides(key), limit)
    return sum(sizes) <= room


def lower_limit(error: RequestTooLarge, limit: int, count: int) -> int:
    """Return the limit to try next after a refusal, or raise it where smaller requests would not help.

    Args:
        error: The refusal.
        limit: The limit that was thought right, in bytes.
        count: How many records there are to append.
    """
    text = error.server_text or ""
    if count == 1 or "record size" in text or "key size" in text:
        raise error
    named = _LIMIT_IN_WORDS.search(text)
    return min(int(named[1]), limit) if named else limit // 2


def stage(key: str, batch: str, texts: Sequence[str], limit: int) -> Op[tuple[list[str], Cost]]:
    """Put records under keys of their own that expire; returns the keys, oldest records first, and the cost.

    One request and three commands for each part. Sent twice, a part is the same; nobody who reads the conversation
    sees it.

    Args:
        key: The conversation's key.
        batch: What tells this append from any other.
        texts: The records, oldest first.
        limit: What a request may have, in bytes.

    Raises:
        RecordTooLarge: One record alone is over the limit.
        DatabaseError: A part could not be put; nothing was appended, and what was put expires.
    """
    staged: list[str] = []
    cost = Cost()
    # All of them before the first is put, for a record over the limit is an error that promises nothing was sent.
    for part in list(_parts(key, texts, limit)):
        staged.append(companion_key("staging", key, batch, str(len(staged))))
        try:
            cost += yield from _put(staged[-1], part)
        except (QuotaExceeded, RequestTooLarge):
            # It answers, and may be short of room: so often as this is tried, so many parts would wait for their end.
            yield from _discard(staged)
            raise
    return staged, cost


def _discard(staged: Sequence[str]) -> Op[None]:
    with contextlib.suppress(DatabaseError):  # they expire by themselves
        yield from send(Batch((("DEL", *staged),), effect=Effect.IDEMPOTENT))


def _put(name: str, part: Sequence[str]) -> Op[Cost]:
    commands = (("DEL", name), ("RPUSH", name, *part), ("EXPIRE", name, TTL))
    try:
        replies = yield from send(Batch(commands, atomic=True, effect=Effect.IDEMPOTENT))
        for reply in replies.values:
            if isinstance(reply, DatabaseError):
                raise reply
    except DatabaseError as error:
        # Of the conversation, that is: what was put aside is not part of it.
        error.applied = Applied.NO
        raise
    return replies.cost


def _parts(key: str, texts: Sequence[str], limit: int) -> Iterator[Sequence[str]]:
    room = limit - _room_besides(key)
    first = used = 0
    for index, size in enumerate(map(_size, texts)):
        if size > room:
            raise RecordTooLarge(index, size + _room_besides(key), limit)
        if used + size > room:
            yield texts[first:index]
            first, used = index, 0
        used += size
    yield texts[first:]


def _room_besides(key: str) -> int:
    """Return what a request has besides its records: the script, and the key up to three times."""
    return _SCRIPT_ROOM + 3 * _size(key)


def _size(text: str) -> int:
    """Return how many bytes a text takes in a request, with the comma after it."""
    return len(orjson.dumps(text)) + 1
