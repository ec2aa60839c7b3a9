"""Lists the keys of conversations, and when they expire."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from chatstash.errors import DatabaseError, ProtocolError
from chatstash.history.records.keys import COMPANION_PREFIX
from chatstash.history.steps.replies import checked_reply
from chatstash.history.values.sessions import ScanEstimate
from chatstash.rest.commands import Batch, Command, Cost, Effect, Reply
from chatstash.rest.ops import Op, send

_GLOB = re.compile(r"([*?\[\]\\])")

KEYS_PER_SCAN = 1000


def scan(prefix: str, cursor: str = "0") -> Op[tuple[str, list[bytes]]]:
    """Return some of the keys that begin with a prefix, and the cursor for more; one request, one command.

    With an empty prefix, lists only. A key may be returned more than once.
    https://redis.io/docs/latest/commands/scan/
    """
    wanted = Wanted(literal(prefix) + "*", lists_only=not prefix)
    (page,) = (yield from scan_all({wanted: cursor})).pages.values()
    found = [key for key in page.keys if key.startswith(prefix.encode())]
    return page.cursor or "0", [key for key in found if not key.startswith(COMPANION_PREFIX.encode())]


def literal(text: str) -> str:
    """Return the pattern that matches a text and nothing else."""
    return _GLOB.sub(r"\\\1", text)


class Wanted(NamedTuple):
    """The keys that a scan looks for.

    Attributes:
        pattern: The pattern that they match.
        lists_only: Whether they hold lists.
    """

    pattern: str
    lists_only: bool = False

    @property
    def kind(self) -> tuple[str, ...]:
        """The words of SCAN that say which type the keys hold."""
        return ("TYPE", "list") if self.lists_only else ()


class ScanPage(NamedTuple):
    """Some keys, and the cursor for more; None after the last."""

    keys: list[bytes]
    cursor: str | None


class ScanPages(NamedTuple):
    """A page for each of the scans that one request continued, and its cost."""

    pages: dict[Wanted, ScanPage]
    cost: Cost = Cost()


def scan_all(cursors: Mapping[Wanted, str]) -> Op[ScanPages]:
    """Continue several scans in one request, given their cursors; one command each. Begin with the cursor "0"."""
    commands: list[Command] = [
        ("SCAN", cursor, "MATCH", wanted.pattern, "COUNT", KEYS_PER_SCAN, *wanted.kind)
        for wanted, cursor in cursors.items()
    ]
    replies = yield from send(Batch(tuple(commands)))
    return ScanPages({wanted: _page(reply) for wanted, reply in zip(cursors, replies.values, strict=True)})


def _page(reply: Reply) -> ScanPage:
    if isinstance(reply, DatabaseError):
        raise reply
    if not isinstance(reply, list) or len(reply) != 2 or not isinstance(reply[1], list):
        raise ProtocolError("The database answered SCAN with a reply that is not a cursor and keys")
    cursor = _text(reply[0])
    return ScanPage([key for key in reply[1] if isinstance(key, bytes)], None if cursor == "0" else cursor)


class DatabaseSize(NamedTuple):
    """How many keys a database has, and the cost of asking."""

    keys: int
    cost: Cost = Cost()

    @property
    def estimate(self) -> ScanEstimate:
        """What a scan costs."""
        return ScanEstimate(self.keys, max(1, -(-self.keys // KEYS_PER_SCAN)))


def database_size() -> Op[DatabaseSize]:
    """Count the keys of the database; one request, one command."""
    replies = yield from send(Batch((("DBSIZE",),)))
    return DatabaseSize(checked_reply(int, replies.values[0], Effect.READ))


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
