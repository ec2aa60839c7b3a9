"""The replication stream between leader and replica, delayed on purpose."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
from collections import deque

from chatstash.local.engine.connection import packed

_LOGIN_SECONDS = 20.0
_CHUNK = 65536


class DelayedStream:
    """A proxy between leader and replica that forwards the leader's stream late.

    It admits only a replica that knows its secret, because nothing else protects the leader from local users.
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

    async def open(self) -> int:
        """Start to listen, and return the port on 127.0.0.1."""
        self._server = await asyncio.start_server(self._follow, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Stop listening and forwarding."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hold_from(self, position: int) -> None:
        """Delay everything after this position."""
        self._position = position
        self._holds = True

    def release(self, position: int) -> None:
        """Forward at once everything before a position."""
        while self._held and self._position < position:
            due, data = self._held.popleft()
            now, later = data[: position - self._position], data[position - self._position :]
            if later:
                self._held.appendleft((due, later))
            self._forward(now)

    def _forward(self, data: bytes) -> None:
        self._position += len(data)
        if self._writer is not None:
            self._writer.write(data)

    async def _follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_LOGIN_SECONDS):
                first_bytes = await self._admit(reader, writer)
            if first_bytes is not None and self._writer is None:
                await self._pump(reader, writer, first_bytes)
                self.is_broken = True
        except (OSError, TimeoutError):
            # Not a replica, or one that left.
            self.is_broken = self._writer is writer
        finally:
            writer.close()

    async def _admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes | None:
        """Answer the PING and AUTH of a replica; return what it sent after these, or None if it is not ours."""
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

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first_bytes: bytes) -> None:
        self._writer = writer
        leader_reader, leader_writer = await asyncio.open_unix_connection(self._leader_path)
        leader_writer.write(first_bytes)
        pumps = [
            asyncio.create_task(_copy(reader, leader_writer)),
            asyncio.create_task(self._collect(leader_reader)),
            asyncio.create_task(self._forward_when_due()),
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
                self._forward(data)

    async def _forward_when_due(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not self._held:
                self._more.clear()
                await self._more.wait()
            elif (wait := self._held[0][0] - loop.time()) > 0:
                await asyncio.sleep(wait)
            else:
                self._forward(self._held.popleft()[1])


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
