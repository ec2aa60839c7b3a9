"""Which conversations there are, what they hold and when they expire, as operations. Pure: no I/O of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence

from chatstash.errors import CommandRejected, DatabaseError, ProtocolError, RequestTooLarge
from chatstash.history.keys import COMPANION_PREFIX
from chatstash.rest.commands import Batch, Reply
from chatstash.rest.ops import Op, send

_GLOB = re.compile(r"([*?\[\]\\])")
_PAGE = 1000
_TRIES = 5


def scan(prefix: str, cursor: str = "0") -> Op[tuple[str, list[bytes]]]:
    """Return some of the keys of lists that begin with a prefix, and the cursor for more; one request, one command.

    A key may come more than once. https://redis.io/docs/latest/commands/scan/

    Args:
        prefix: What the keys begin with, taken literally.
        cursor: "0" to begin; the answer's is "0" again at the end.

    Raises:
        ReadOnlyToken: A read-only token may not list keys.
    """
    pattern = _GLOB.sub(r"\\\1", prefix) + "*"
    replies = yield from send(Batch((("SCAN", cursor, "MATCH", pattern, "COUNT", 1000, "TYPE", "list"),)))
    reply = replies.values[0]
    if not isinstance(reply, list) or len(reply) != 2 or not isinstance(reply[1], list):
        raise ProtocolError("The database answered SCAN with something else than a cursor and keys")
    found = [key for key in reply[1] if isinstance(key, bytes) and key.startswith(prefix.encode())]
    return _text(reply[0]), [key for key in found if not key.startswith(COMPANION_PREFIX.encode())]


def _text(reply: Reply) -> str:
    return reply.decode() if isinstance(reply, bytes) else str(reply)


def expiries(keys: Sequence[str]) -> Op[dict[str, int | None]]:
    """Return the seconds left to each key that exists, None where it never expires; one request, a command a key."""
    if not keys:
        return {}
    replies = yield from send(Batch(tuple(("TTL", key) for key in keys)))
    left = dict(zip(keys, replies.values, strict=True))
    for reply in left.values():
        if isinstance(reply, DatabaseError):
            raise reply
    return {key: None if ttl == -1 else ttl for key, ttl in left.items() if isinstance(ttl, int) and ttl != -2}


def stored_records(key: str) -> Op[list[bytes]]:
    """Return a conversation as it is stored, oldest record first, of whatever size; one command for each 1000 records.

    Fewer are asked for at once where a reply would be over the plan's limit. Each page begins with the last record of
    the one before: where that is another now, records were taken out meanwhile, and it is read again.

    Raises:
        WrongType: The key holds no list.
        RequestTooLarge: A single record is over the limit.
    """
    for _ in range(_TRIES):
        stored = yield from _all_pages(key)
        if stored is not None:
            return stored
    raise CommandRejected("The conversation changed each time while it was read")


def _all_pages(key: str) -> Op[list[bytes] | None]:
    """Return all records, or None where records were taken out meanwhile."""
    stored: list[bytes] = []
    size = _PAGE
    while True:
        try:
            page = yield from _next_page(key, stored, size)
        except RequestTooLarge:
            if size == 1:
                raise
            size //= 2
            continue
        if page is None:
            return None
        begun = bool(stored) and size > 1
        stored += page
        if len(page) < size - begun:
            return stored


def _next_page(key: str, stored: Sequence[bytes], size: int) -> Op[list[bytes] | None]:
    """Return up to `size` records after those stored already, or None where the last of those is another now."""
    begin = len(stored)
    if not stored:
        return (yield from _page(key, 0, size))
    if size == 1:
        # Two records together may be too large for one reply.
        page = yield from _page(key, begin, 1)
        return page if (yield from _page(key, begin - 1, 1)) == [stored[-1]] else None
    page = yield from _page(key, begin - 1, size)
    return page[1:] if page[:1] == [stored[-1]] else None


def _page(key: str, begin: int, count: int) -> Op[list[bytes]]:
    replies = yield from send(Batch((("LRANGE", key, -begin - count, -1 - begin),)))
    reply = replies.values[0]
    if not isinstance(reply, list):
        raise ProtocolError(f"The database answered LRANGE with {type(reply).__name__}")
    return [raw for raw in reversed(reply) if isinstance(raw, bytes)]
