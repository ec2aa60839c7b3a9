"""Connections to the engine: one shared by all requests, and one for each subscription or MONITOR.

Sharing is safe because the REST API rejects commands that change or block a connection (see `rest.command_rules`), and
because each batch is written in one piece.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Sequence
from typing import TypeVar, cast
from urllib.parse import SplitResult

import hiredis

from chatstash.local.engine.address import login_commands, parse_address
from chatstash.local.engine.commands import EngineCommand, EngineReply

_CONNECT_SECONDS = 10.0
_MAX_UNREAD = 10_000


class EngineLost(Exception):
    """The connection to the engine broke; commands in flight may or may not have been applied."""


class EngineRefused(EngineLost, ValueError):
    """The engine refuses the connection: wrong password or database, or it is loading."""


class _Connection(asyncio.Protocol):
    """A connection to the engine."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._reader = hiredis.Reader()
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (asyncio calls this)."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the waiting batches (asyncio calls this)."""
        self.is_lost = True
        self._fail(EngineLost(str(exc or "the engine closed the connection")))

    def data_received(self, data: bytes) -> None:
        """Pass on each complete reply (asyncio calls this)."""
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                self._take(reply)
        except hiredis.ProtocolError:
            # The reply is nested too deeply to parse, so the start of the next one is unknown.
            self.close()

    def close(self) -> None:
        """Close the connection at once; waiting batches fail with `EngineLost`."""
        self.is_lost = True
        if self._transport is not None:
            self._transport.abort()

    def _take(self, reply: EngineReply) -> None:
        raise NotImplementedError

    def _fail(self, error: EngineLost) -> None:
        raise NotImplementedError


class EngineConnection(_Connection):
    """A connection that requests share. Create one with `connect`."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._batches: deque[tuple[int, asyncio.Future[list[EngineReply]]]] = deque()
        self._replies: list[EngineReply] = []
        self._unsent: list[bytes] = []

    def run(self, commands: Sequence[Sequence[str | bytes]]) -> asyncio.Future[list[EngineReply]]:
        """Run commands in order; the future holds their replies, or raises `EngineLost`.

        Commands of the same turn of the event loop are sent together.
        """
        whole: asyncio.Future[list[EngineReply]] = self._loop.create_future()
        if self.is_lost or self._transport is None:
            _break(whole, EngineLost("not connected to the engine"))
        elif not commands:
            whole.set_result([])
        else:
            if not self._unsent:
                self._loop.call_soon(self._send)
            self._unsent.extend(map(packed, commands))
            self._batches.append((len(commands), whole))
        return whole

    def _send(self) -> None:
        assert self._transport is not None
        data = self._unsent[0] if len(self._unsent) == 1 else b"".join(self._unsent)
        self._unsent.clear()
        # A batch on a connection that is ending fails with it.
        if not self._transport.is_closing():
            self._transport.write(data)

    def _take(self, reply: EngineReply) -> None:
        if not self._batches:
            # More replies than commands: the next one would reach the wrong client.
            self.close()
            return
        self._replies.append(reply)
        count, whole = self._batches[0]
        if len(self._replies) == count:
            self._batches.popleft()
            if not whole.done():
                whole.set_result(self._replies)
            self._replies = []

    def _fail(self, error: EngineLost) -> None:
        while self._batches:
            _break(self._batches.popleft()[1], error)


class Subscription(_Connection):
    """A connection on which the engine pushes messages. Create one with `subscribe`."""

    def __init__(self) -> None:
        super().__init__()
        self._replies: asyncio.Queue[EngineReply | EngineLost] = asyncio.Queue()

    def send(self, command: Sequence[str | bytes]) -> None:
        """Send a command; its replies arrive among the messages."""
        assert self._transport is not None
        self._transport.write(packed(command))

    async def next(self) -> EngineReply:
        """Return the next message; raises `EngineLost` at the end."""
        reply = await self._replies.get()
        if isinstance(reply, EngineLost):
            raise reply
        return reply

    def _take(self, reply: EngineReply) -> None:
        if self._replies.qsize() < _MAX_UNREAD:
            self._replies.put_nowait(reply)
        else:
            # A slow reader is cut off, as Redis itself does.
            self.close()

    def _fail(self, error: EngineLost) -> None:
        self._replies.put_nowait(error)


def _break(whole: asyncio.Future[list[EngineReply]], error: EngineLost) -> None:
    if not whole.done():
        whole.set_exception(error)
        whole.exception()  # marked as seen, so asyncio does not report it


def packed(command: Sequence[str | bytes]) -> bytes:
    """Return a command in the engine's protocol."""
    # hiredis's types know tuples of one element only.
    data: bytes = hiredis.pack_command(tuple(command))  # type: ignore[arg-type]
    return data


async def connect(url: str, *, busy: bool = False) -> EngineConnection:
    """Connect to an engine, also a `busy` one that runs a script.

    The URL is `unix:///path`, or `redis://[user:password@]host[:port][/database]`, or the same with `rediss://`.
    """
    parts = parse_address(url)
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            connection = await _open(EngineConnection, parts)
            try:
                _check_login(await connection.run([*login_commands(parts), ["PING"]]), busy=busy)
            except BaseException:
                connection.close()
                raise
    except TimeoutError:
        raise TimeoutError(f"the engine did not answer in {_CONNECT_SECONDS:g} s") from None
    return connection


async def subscribe(url: str, command: Sequence[str | bytes]) -> Subscription:
    """Run SUBSCRIBE, PSUBSCRIBE or MONITOR on a separate connection."""
    parts = parse_address(url)
    connection = await _open(Subscription, parts)
    try:
        # An engine that is shutting down still accepts connections; only a reply shows that it runs.
        login: list[EngineCommand] = [*login_commands(parts), ["PING"]]
        for step in [*login, command]:
            connection.send(step)
        _check_login([await connection.next() for _ in login], busy=False)
    except BaseException:
        connection.close()
        raise
    return connection


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


def _check_login(replies: Sequence[EngineReply], *, busy: bool) -> None:
    accepted = ("BUSY",) if busy else ()
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError) and not str(reply).startswith(accepted):
            raise EngineRefused(f"the engine refuses the connection: {reply}")
