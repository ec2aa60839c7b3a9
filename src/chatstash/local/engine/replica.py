"""A replica that lags: a second engine that follows the first through a delayed stream."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Literal

import hiredis

from chatstash.local.engine.commands import EngineCommand, EngineReply
from chatstash.local.engine.connection import EngineConnection, EngineLost, connect
from chatstash.local.engine.process import Engine
from chatstash.local.engine.replication import DelayedStream

REPLICATION: EngineCommand = ["INFO", "replication"]
_SYNC_SECONDS = 20.0
_POLL_SECONDS = 0.001
_CATCH_UP_SECONDS = 10.0
_LINK_IS_UP = b"master_link_status:up"


def position_of(info: EngineReply, role: Literal["master", "slave"]) -> int:
    """Return the position of an engine in the leader's stream, in bytes, from its reply to `REPLICATION`."""
    if not isinstance(info, bytes):
        return 0
    found = re.search(rb"^%b_repl_offset:(\d+)" % role.encode(), info, re.MULTILINE)
    return int(found[1]) if found else 0


class Replica:
    """An engine that follows another one, `lag` seconds late."""

    def __init__(self, leader_url: str, lag: float) -> None:
        self._engine = Engine()
        self._stream = DelayedStream(leader_url.removeprefix("unix://"), lag)
        self._connection: EngineConnection | None = None

    @property
    def url(self) -> str:
        """The engine's address; it has one once the replica is open."""
        return self._engine.url

    async def open(self) -> None:
        """Start the engine and wait until it has copied the leader's data; from then on it lags."""
        await asyncio.to_thread(self._engine.start)
        port = await self._stream.open()
        self._connection = await connect(self._engine.url)
        # The stream may be silent for an hour; neither side may time out.
        replies = await self._connection.run(
            [
                ["CONFIG", "SET", "masterauth", self._stream.secret, "repl-timeout", "1000000"],
                ["REPLICAOF", "127.0.0.1", str(port)],
            ]
        )
        if replies != [b"OK", b"OK"]:
            raise OSError(f"the replica refuses to follow the leader: {replies}")
        try:
            async with asyncio.timeout(_SYNC_SECONDS):
                info = await self._synced()
        except TimeoutError:
            raise TimeoutError(f"the replica could not copy the data in {_SYNC_SECONDS:g} s") from None
        self._stream.hold_from(position_of(info, "slave"))

    async def _synced(self) -> bytes:
        while _LINK_IS_UP not in (info := await self._info()):  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)
        return info

    async def close(self) -> None:
        """Stop the stream and the engine."""
        if self._connection is not None:
            self._connection.close()
        await self._stream.close()
        await asyncio.to_thread(self._engine.stop)

    async def run(self, commands: Sequence[EngineCommand]) -> tuple[list[EngineReply], int]:
        """Run read commands, and return their replies and the replica's position."""
        assert self._connection is not None
        *replies, info = await self._connection.run([*commands, REPLICATION])
        return replies, position_of(info, "slave")

    @property
    def is_running(self) -> bool:
        """Whether the engine is alive and follows the leader."""
        return self._engine.is_running and not self._stream.is_broken

    async def catch_up(self, position: int) -> None:
        """Catch up to a position of the leader at once."""
        end = asyncio.get_running_loop().time() + _CATCH_UP_SECONDS
        while position_of(await self._info(), "slave") < position:
            if not self.is_running or asyncio.get_running_loop().time() > end:
                raise EngineLost("the replica has stopped following")
            self._stream.release(position)
            await asyncio.sleep(_POLL_SECONDS)

    async def _info(self) -> bytes:
        assert self._connection is not None
        (info,) = await self._connection.run([REPLICATION])
        if isinstance(info, hiredis.ReplyError):
            raise info
        return bytes(info)
