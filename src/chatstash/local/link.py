"""Connections to the engine: one that all requests share, and feeds of their own for subscriptions and MONITOR.

Sharing is safe because no command that changes or blocks a connection is let through (see `refusals`), and because what
belongs together is written in one piece, so nothing comes between its parts. What is written in one turn of the loop
goes out together.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Sequence
from typing import TypeVar, cast
from urllib.parse import SplitResult, unquote, urlsplit

import hiredis

from chatstash.local.commands import EngineCommand, EngineReply

_CONNECT_SECONDS = 10.0
_MAX_UNREAD = 10_000


class LinkLost(Exception):
    """The connection to the engine broke; what was under way may or may not have been applied."""


class LinkRefused(LinkLost, ValueError):
    """The engine takes no such connection: the password, the database, or for now."""


class _Expected:
    """The replies that one batch of commands waits for."""

    __slots__ = ("count", "replies", "whole")

    def __init__(self, count: int, whole: asyncio.Future[list[EngineReply]]) -> None:
        self.count = count
        self.replies: list[EngineReply] = []
        self.whole = whole

    def add(self, reply: EngineReply) -> bool:
        """Take one reply; tell whether it was the last."""
        self.replies.append(reply)
        if len(self.replies) < self.count:
            return False
        if not self.whole.done():
            self.whole.set_result(self.replies)
        return True

    def fail(self, error: Exception) -> None:
        if not self.whole.done():
            self.whole.set_exception(error)
            self.whole.exception()  # seen, so that asyncio does not report it a second time


class _Connection(asyncio.Protocol):
    """A connection on which the engine talks."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._reader = hiredis.Reader()
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (asyncio calls this)."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail whatever waits (asyncio calls this)."""
        self.is_lost = True
        self._fail(LinkLost(str(exc or "the engine closed the connection")))

    def data_received(self, data: bytes) -> None:
        """Hand on each whole reply (asyncio calls this)."""
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                self._take(reply)
        except hiredis.ProtocolError:
            # Nested deeper than can be read: no telling where the next reply begins.
            self.close()

    def close(self) -> None:
        """Close the connection at once; what waits fails with `LinkLost`."""
        self.is_lost = True
        if self._transport is not None:
            self._transport.abort()

    def _take(self, reply: EngineReply) -> None:
        raise NotImplementedError

    def _fail(self, error: LinkLost) -> None:
        raise NotImplementedError


class Link(_Connection):
    """The shared connection. Make one with `connect`."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._expected: deque[_Expected] = deque()
        self._unsent: list[bytes] = []

    def run(self, commands: Sequence[Sequence[str | bytes]]) -> asyncio.Future[list[EngineReply]]:
        """Run commands one after the other; the future holds their replies, or `LinkLost`."""
        whole: asyncio.Future[list[EngineReply]] = self._loop.create_future()
        expected = _Expected(len(commands), whole)
        if self.is_lost or self._transport is None:
            expected.fail(LinkLost("there is no connection to the engine"))
        elif not commands:
            whole.set_result([])
        else:
            if not self._unsent:
                self._loop.call_soon(self._send)
            self._unsent.extend(map(packed, commands))
            self._expected.append(expected)
        return whole

    def _send(self) -> None:
        assert self._transport is not None
        data = self._unsent[0] if len(self._unsent) == 1 else b"".join(self._unsent)
        self._unsent.clear()
        self._transport.write(data)

    def _take(self, reply: EngineReply) -> None:
        if not self._expected:
            # More replies than commands: whatever came next would go to the wrong client.
            self.close()
        elif self._expected[0].add(reply):
            self._expected.popleft()

    def _fail(self, error: LinkLost) -> None:
        while self._expected:
            self._expected.popleft().fail(error)


class Feed(_Connection):
    """A connection on which the engine sends what comes, as it comes: ask for the `next`. Made by `feed`."""

    def __init__(self) -> None:
        super().__init__()
        self._replies: asyncio.Queue[EngineReply | LinkLost] = asyncio.Queue()

    def send(self, command: Sequence[str | bytes]) -> None:
        """Send a command; its replies come with the rest."""
        assert self._transport is not None
        self._transport.write(packed(command))

    async def next(self) -> EngineReply:
        """Return what the engine sends next; raises `LinkLost` at the end."""
        reply = await self._replies.get()
        if isinstance(reply, LinkLost):
            raise reply
        return reply

    def _take(self, reply: EngineReply) -> None:
        if self._replies.qsize() < _MAX_UNREAD:
            self._replies.put_nowait(reply)
        else:
            # Who does not read is cut off, as by Redis itself.
            self.close()

    def _fail(self, error: LinkLost) -> None:
        self._replies.put_nowait(error)


def packed(command: Sequence[str | bytes]) -> bytes:
    """Return a command in the engine's protocol."""
    # hiredis's types know tuples of one element only.
    data: bytes = hiredis.pack_command(tuple(command))  # type: ignore[arg-type]
    return data


async def connect(url: str, *, busy: bool = False) -> Link:
    """Connect to an engine.

    Args:
        busy: Whether the engine may be busy with a script, and so answer nothing else.
        url: `unix:///path`, or `redis://[user:password@]host[:port][/database]`, or the same with `rediss://`.

    Raises:
        OSError: It cannot be reached.
        ValueError: The url is none of these.
        LinkRefused: The engine refuses the password or the database; also a ValueError.
    """
    parts = _checked(url)
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            link = await _open(Link, parts)
            try:
                _check_login(await link.run([*_login(parts), ["PING"]]), busy=busy)
            except BaseException:
                link.close()
                raise
    except TimeoutError:
        raise TimeoutError(f"the engine did not answer in {_CONNECT_SECONDS:g} s") from None
    return link


async def feed(url: str, command: Sequence[str | bytes]) -> Feed:
    """Run a command that goes on answering (SUBSCRIBE, MONITOR) on a connection of its own.

    Raises:
        OSError: The engine cannot be reached.
        LinkLost: It refuses the connection, or ends it.
    """
    parts = _checked(url)
    connection = await _open(Feed, parts)
    try:
        # An engine that is ending still takes connections; only its answer shows that it lives.
        login: list[EngineCommand] = [*_login(parts), ["PING"]]
        for step in [*login, command]:
            connection.send(step)
        _check_login([await connection.next() for _ in login], busy=False)
    except BaseException:
        connection.close()
        raise
    return connection


def database_number(url: str) -> int:
    """Return the number of the database that an engine's URL names."""
    return int(_number(_checked(url)) or 0)


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


_AnyConnection = TypeVar("_AnyConnection", bound=_Connection)


async def _open(kind: type[_AnyConnection], parts: SplitResult) -> _AnyConnection:
    loop = asyncio.get_running_loop()
    if parts.scheme == "unix":
        _, connection = await loop.create_unix_connection(kind, parts.path)
    elif parts.scheme in ("redis", "rediss") and parts.hostname:
        context = ssl.create_default_context() if parts.scheme == "rediss" else None
        _, connection = await loop.create_connection(kind, parts.hostname, parts.port or 6379, ssl=context)
    else:
        raise ValueError("the engine's url must be redis://host:port, rediss://host:port or unix:///path")
    return connection


def _login(parts: SplitResult) -> list[EngineCommand]:
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    database = _number(parts)
    commands: list[EngineCommand] = []
    if password:
        commands.append(["AUTH", user, password] if user else ["AUTH", password])
    if database:
        commands.append(["SELECT", database])
    return commands


def _number(parts: SplitResult) -> str:
    # The path of a Unix socket is its file, not a database.
    return "" if parts.scheme == "unix" else parts.path.strip("/")


def _check_login(replies: Sequence[EngineReply], *, busy: bool) -> None:
    accepted = ("BUSY",) if busy else ()
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError) and not str(reply).startswith(accepted):
            raise LinkRefused(f"the engine refuses the connection: {reply}")
