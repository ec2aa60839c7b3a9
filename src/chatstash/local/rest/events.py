"""Server-sent events of subscriptions and MONITOR.

https://upstash.com/docs/redis/features/restapi#subscribe--publish-commands
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator

from chatstash.local.engine.commands import EngineCommand, EngineReply, name_of
from chatstash.local.engine.connection import EngineLost, Subscription

# The specification of server-sent events ends a line at each of these.
_LINE_END = re.compile(rb"\r\n|\r|\n")
_OWN_COMMANDS = (b' "INFO" "commandstats"', b' "INFO" "replication"', b' "INFO" "memory"', b' "COMMAND" "GETKEYS"')


async def events_of(command: EngineCommand, subscription: Subscription, database: int) -> AsyncIterator[bytes]:
    """Yield the messages of a subscription as events; of a MONITOR, those to the database of this number."""
    is_monitor = name_of(command) == "MONITOR"
    with contextlib.suppress(EngineLost):
        while True:
            reply = await subscription.next()
            text = _monitor_event(reply, database) if is_monitor else _message_event(reply)
            if text is not None:
                yield b"".join(b"data: %b\n" % line for line in _LINE_END.split(text)) + b"\n"


def _monitored(line: bytes, number: int) -> bytes | None:
    """Return a line of MONITOR without the gateway's address; None for its own commands and for other databases."""
    head, bracket, rest = line.partition(b"]")
    words = head.split(b" ")
    if rest.startswith(_OWN_COMMANDS) or words[1:2] != [b"[%d" % number]:
        return None
    if len(words) == 3 and words[2] != b"lua":
        words[2] = b"0.0.0.0:0"
    return b" ".join(words) + bracket + rest


def _monitor_event(reply: EngineReply, database: int) -> bytes | None:
    if not isinstance(reply, bytes):
        return str(reply).encode()
    return b'"OK"' if reply == b"OK" else _monitored(reply, database)


def _message_event(reply: EngineReply) -> bytes:
    parts = reply if isinstance(reply, list) else [str(reply).encode()]
    return b",".join(part if isinstance(part, bytes) else str(part).encode() for part in parts)
