"""One connection to the engine that all requests share: commands go out as they come, replies return in order.

Safe because no command that changes or blocks a connection is let through (see `commands`), and because a transaction
is written in one piece, so nothing comes between its parts.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Sequence
from typing import Any, TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit

import hiredis

_CONNECT_SECONDS = 10.0

EngineReply: TypeAlias = Any
"""bytes, int, None, `hiredis.ReplyError`, or a list of these."""


class LinkLost(Exception):
    """The connection to the engine broke; what was under way may or may not have been applied."""


class Link(asyncio.Protocol):
    """The shared connection. Make one with `connect`."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._reader = hiredis.Reader()
        self._waiting: deque[asyncio.Future[EngineReply]] = deque()
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (asyncio calls this)."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail whatever waits (asyncio calls this)."""
        self.is_lost = True
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(LinkLost(str(exc or "the engine closed the connection")))

    def data_received(self, data: bytes) -> None:
        """Hand each whole reply to who waits longest (asyncio calls this)."""
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                self._hand_on(reply)
        except hiredis.ProtocolError:
            # Nested deeper than can be read: no telling where the next reply begins.
            self.close()

    def _hand_on(self, reply: EngineReply) -> None:
        if not self._waiting:
            # More replies than commands: whatever came next would go to the wrong client.
            self.close()
            return
        waiting = self._waiting.popleft()
        if not waiting.done():
            waiting.set_result(reply)

    async def run(self, commands: Sequence[Sequence[str | bytes]]) -> list[EngineReply]:
        """Run commands one after the other and return their replies.

        Raises:
            LinkLost: The connection broke.
        """
        if self.is_lost or self._transport is None:
            raise LinkLost("there is no connection to the engine")
        loop = asyncio.get_running_loop()
        replies = [loop.create_future() for _ in commands]
        self._waiting.extend(replies)
        self._transport.write(b"".join(map(_packed, commands)))
        try:
            return [await reply for reply in replies]
        finally:
            for reply in replies:
                if reply.done() and not reply.cancelled():
                    reply.exception()  # seen, so that asyncio does not report it a second time

    def close(self) -> None:
        """Close the connection at once; what waits fails with `LinkLost`."""
        self.is_lost = True
        if self._transport is not None:
            self._transport.abort()


def _packed(command: Sequence[str | bytes]) -> bytes:
    # hiredis's types know tuples of one element only.
    packed: bytes = hiredis.pack_command(tuple(command))  # type: ignore[arg-type]
    return packed


async def connect(url: str, *, busy: bool = False) -> Link:
    """Connect to an engine.

    Args:
        busy: Whether the engine may be busy with a script, and so answer nothing else.
        url: `unix:///path`, or `redis://[user:password@]host[:port][/database]`, or the same with `rediss://`.

    Raises:
        OSError: It cannot be reached.
        ValueError: The url is none of these, or the engine refuses the password or the database.
    """
    parts = _checked(url)
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            link = await _open(parts)
            try:
                await _log_in(link, parts, busy=busy)
            except BaseException:
                link.close()
                raise
    except TimeoutError:
        raise TimeoutError(f"the engine did not answer in {_CONNECT_SECONDS:g} s") from None
    return link


def _checked(url: str) -> SplitResult:
    """Split a URL; raises ValueError where a part would be passed over. Never quotes it: it may hold a password."""
    try:
        parts = urlsplit(url)
        strange = bool(parts.query or parts.fragment or parts.port == 0)
    except ValueError:
        strange = True
    if strange:
        raise ValueError(
            "the engine's url is not one: it takes no query or fragment, and special characters of a password are "
            "written as %23 and the like"
        )
    return parts


async def _open(parts: SplitResult) -> Link:
    loop = asyncio.get_running_loop()
    if parts.scheme == "unix":
        _, link = await loop.create_unix_connection(Link, parts.path)
    elif parts.scheme in ("redis", "rediss") and parts.hostname:
        context = ssl.create_default_context() if parts.scheme == "rediss" else None
        _, link = await loop.create_connection(Link, parts.hostname, parts.port or 6379, ssl=context)
    else:
        raise ValueError("the engine's url must be redis://host:port, rediss://host:port or unix:///path")
    return link


async def _log_in(link: Link, parts: SplitResult, *, busy: bool) -> None:
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    # The path of a Unix socket is its file, not a database.
    database = "" if parts.scheme == "unix" else parts.path.strip("/")
    commands: list[list[str | bytes]] = []
    if password:
        commands.append(["AUTH", user, password] if user else ["AUTH", password])
    if database:
        commands.append(["SELECT", database])
    accepted = ("BUSY",) if busy else ()
    for reply in await link.run([*commands, ["PING"]]):
        if isinstance(reply, hiredis.ReplyError) and not str(reply).startswith(accepted):
            raise ValueError(f"the engine refuses the connection: {reply}")
