"""Lists the keys of conversations, and when they expire."""

from __future__ import annotations

import re
from collections.abc import Sequence

from chatstash.errors import DatabaseError, ProtocolError
from chatstash.history.records.keys import COMPANION_PREFIX
from chatstash.rest.commands import Batch, Reply
from chatstash.rest.ops import Op, send

_GLOB = re.compile(r"([*?\[\]\\])")


def scan(prefix: str, cursor: str = "0") -> Op[tuple[str, list[bytes]]]:
    """Return some of the keys that begin with a prefix, and the cursor for more; one request, one command.

    With an empty prefix, lists only. A key may be returned more than once.
    https://redis.io/docs/latest/commands/scan/
    """
    pattern = _GLOB.sub(r"\\\1", prefix) + "*"
    lists_only = () if prefix else ("TYPE", "list")
    replies = yield from send(Batch((("SCAN", cursor, "MATCH", pattern, "COUNT", 1000, *lists_only),)))
    reply = replies.values[0]
    if not isinstance(reply, list) or len(reply) != 2 or not isinstance(reply[1], list):
        raise ProtocolError("The database answered SCAN with a reply that is not a cursor and keys")
    found = [key for key in reply[1] if isinstance(key, bytes) and key.startswith(prefix.encode())]
    return _text(reply[0]), [key for key in found if not key.startswith(COMPANION_PREFIX.encode())]


def _text(reply: Reply) -> str:
    return reply.decode() if isinstance(reply, bytes) else str(reply)


def expiries(keys: Sequence[str]) -> Op[dict[str, int | None]]:
    """Return the seconds until each existing key expires, None for never; one request, one command for each key."""
    if not keys:
        return {}
    replies = yield from send(Batch(tuple(("TTL", key) for key in keys)))
    left = dict(zip(keys, replies.values, strict=True))
    for reply in left.values():
        if isinstance(reply, DatabaseError):
            raise reply
    return {key: None if ttl == -1 else ttl for key, ttl in left.items() if isinstance(ttl, int) and ttl != -2}
