"""A replica that lags: a second engine, fed by the first through a stream that holds everything back for a while."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import re
import secrets
from collections import deque
from collections.abc import Sequence

import hiredis

from chatstash.local.commands import EngineCommand, EngineReply
from chatstash.local.engine import Engine
from chatstash.local.link import Link, LinkLost, connect, packed

REPLICATION: EngineCommand = ["INFO", "replication"]
_SYNC_SECONDS = 20.0
_POLL_SECONDS = 0.001
_CATCH_UP_SECONDS = 10.0
_CHUNK = 65536
_LEADER_OFFSET = re.compile(rb"^master_repl_offset:(\d+)", re.MULTILINE)
_REPLICA_OFFSET = re.compile(rb"^slave_repl_offset:(\d+)", re.MULTILINE)
_LINK_IS_UP = b"master_link_status:up"


def leader_position(info: EngineReply) -> int:
    """Return how far the leader is, in bytes of its stream, from its reply to `REPLICATION`."""
    return _offset(_LEADER_OFFSET, info)


def replica_position(info: EngineReply) -> int:
    """Return how far a replica has followed, from its reply to `REPLICATION`."""
    return _offset(_REPLICA_OFFSET, info)


def _offset(pattern: re.Pattern[bytes], info: EngineReply) -> int:
    found = pattern.search(info) if isinstance(info, bytes) else None
    return int(found[1]) if found else 0


class Replica:
    """An engine that follows another one at a distance in time.

    Args:
        leader_url: The engine to follow, as `unix:///path`.
        lag: How far behind it stays, in seconds.
    """

    def __init__(self, leader_url: str, lag: float) -> None:
        self._engine = Engine()
        self._stream = _HeldStream(leader_url.removeprefix("unix://"), lag)
        self._link: Link | None = None

    async def open(self) -> None:
        """Start the engine and wait until it has all that the leader has; from then on it lags.

        Raises:
            EngineError: It cannot be started.
            TimeoutError: It could not copy the leader's data in 20 seconds.
        """
        await asyncio.to_thread(self._engine.start)
        port = await self._stream.open()
        self._link = await connect(self._engine.url)
        # Long silence is what it is for: neither side is to give the other up.
        replies = await self._link.run(
            [
                ["CONFIG", "SET", "masterauth", self._stream.secret, "repl-timeout", "1000000"],
                ["REPLICAOF", "127.0.0.1", str(port)],
            ]
        )
        if replies != [b"OK", b"OK"]:
            raise OSError(f"the replica refuses to follow: {replies}")
        try:
            async with asyncio.timeout(_SYNC_SECONDS):
                info = await self._synced()
        except TimeoutError:
            raise TimeoutError(f"the replica could not copy the data in {_SYNC_SECONDS:g} s") from None
        self._stream.hold_from(replica_position(info))

    async def _synced(self) -> bytes:
        while _LINK_IS_UP not in (info := await self._info()) or self._stream.is_busy:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)
        return info

    async def close(self) -> None:
        """Stop following and stop the engine."""
        if self._link is not None:
            self._link.close()
        await self._stream.close()
        await asyncio.to_thread(self._engine.stop)

    async def run(self, commands: Sequence[EngineCommand]) -> tuple[list[EngineReply], int]:
        """Run read commands, and return their replies with how far the replica had followed."""
        assert self._link is not None
        *replies, info = await self._link.run([*commands, REPLICATION])
        return replies, replica_position(info)

    @property
    def is_running(self) -> bool:
        """Whether the engine is alive and follows."""
        return self._engine.is_running and not self._stream.is_broken

    async def catch_up(self, position: int) -> None:
        """Wait until the replica has followed to a position, which it then does at once.

        Raises:
            LinkLost: It does not follow any more.
        """
        end = asyncio.get_running_loop().time() + _CATCH_UP_SECONDS
        while replica_position(await self._info()) < position:
            if not self.is_running or asyncio.get_running_loop().time() > end:
                raise LinkLost("the replica does not follow any more")
            self._stream.release(position)
            await asyncio.sleep(_POLL_SECONDS)

    async def _info(self) -> bytes:
        assert self._link is not None
        (info,) = await self._link.run([REPLICATION])
        if isinstance(info, hiredis.ReplyError):
            raise info
        return bytes(info)


class _HeldStream:
    """Stands between replica and leader: what the leader sends is handed on later, at latest when asked for.

    It lets in the one that knows its secret, and nobody else on this machine, for behind it is no other door.
    """

    def __init__(self, leader_path: str, lag: float) -> None:
        self.secret = secrets.token_hex(16)
        self.is_broken = False
        self._leader_path = leader_path
        self._lag = lag
        self._holds = False
        self._position = 0
        self._held: deque[tuple[float, bytes]] = deque()
        self._server: asyncio.Server | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._more = asyncio.Event()

    @property
    def is_busy(self) -> bool:
        return bool(self._held)

    async def open(self) -> int:
        self._server = await asyncio.start_server(self._follow, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hold_from(self, position: int) -> None:
        """Begin to hold back: all before this position has been handed on."""
        self._position = position
        self._holds = True

    def release(self, position: int) -> None:
        """Hand on at once what lies before a position."""
        while self._held and self._position < position:
            due, data = self._held.popleft()
            now, later = data[: position - self._position], data[position - self._position :]
            if later:
                self._held.appendleft((due, later))
            self._hand_on(now)

    def _hand_on(self, data: bytes) -> None:
        self._position += len(data)
        if self._writer is not None:
            self._writer.write(data)

    async def _follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_SYNC_SECONDS):
                begun = await self._admit(reader, writer)
            if begun is not None and self._writer is None:
                await self._pump(reader, writer, begun)
                self.is_broken = True
        except (OSError, TimeoutError):
            # Who connects and is none, or breaks off.
            self.is_broken = self._writer is writer
        finally:
            writer.close()

    async def _admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes | None:
        """Answer a replica's PING and AUTH; returns what it sent after these, None where it is not ours."""
        data = b""
        for expected, answer in ((["PING"], b"+PONG\r\n"), (["AUTH", self.secret], b"+OK\r\n")):
            wanted = packed(expected)
            while len(data) < len(wanted) and (more := await reader.read(_CHUNK)):
                data += more
            if not hmac.compare_digest(data[: len(wanted)], wanted):
                return None
            data = data[len(wanted) :]
            writer.write(answer)
        return data

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, begun: bytes) -> None:
        self._writer = writer
        leader_reader, leader_writer = await asyncio.open_unix_connection(self._leader_path)
        leader_writer.write(begun)
        pumps = [
            asyncio.create_task(_copy(reader, leader_writer)),
            asyncio.create_task(self._collect(leader_reader)),
            asyncio.create_task(self._hand_on_when_due()),
        ]
        self._tasks.update(pumps)
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            leader_writer.close()

    async def _collect(self, leader: asyncio.StreamReader) -> None:
        loop = asyncio.get_running_loop()
        while data := await leader.read(_CHUNK):
            if self._holds:
                self._held.append((loop.time() + self._lag, data))
                self._more.set()
            else:
                self._hand_on(data)

    async def _hand_on_when_due(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._more.clear()
            if not self._held:
                await self._more.wait()
            due = self._held[0][0] if self._held else 0.0
            if (wait := due - loop.time()) > 0:
                await asyncio.sleep(wait)
            elif self._held:
                self._hand_on(self._held.popleft()[1])


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
