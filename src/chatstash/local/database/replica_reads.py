"""Reads on a replica that lags: plain commands, and scripts that only read."""

from __future__ import annotations

from collections.abc import Sequence

import hiredis

from chatstash.local.database.connections import Connections
from chatstash.local.database.script_runner import ScriptReplies, ScriptRunner
from chatstash.local.database.script_user import ScriptUser
from chatstash.local.engine.commands import EngineCommand, EngineReply
from chatstash.local.engine.connection import EngineLost
from chatstash.local.engine.replica import Replica


class ReplicaReads:
    """Runs reads on a replica of the leader, `lag` seconds late.

    The replica has access rules and a cache of scripts of its own, as replicas have: nothing of these is replicated.
    """

    def __init__(self, leader_url: str, lag: float) -> None:
        self._replica = Replica(leader_url, lag)
        self._opened: Connections | None = None

    async def open(self) -> None:
        """Start the replica and wait until it has the leader's data."""
        await self._replica.open()
        self._opened = Connections(self._replica.url, trusts_scripts=False)
        self._scripts = ScriptRunner(self._opened, embedded=True)

    async def close(self) -> None:
        """Stop the replica."""
        if self._opened is not None:
            await self._opened.close(remove_users=False)
        await self._replica.close()

    @property
    def _connections(self) -> Connections:
        assert self._opened is not None
        return self._opened

    @property
    def is_running(self) -> bool:
        """Whether the replica is alive and follows the leader."""
        return self._replica.is_running

    async def catch_up(self, position: int) -> None:
        """Catch up to a position of the leader at once."""
        # Locked, because scripts are billed for what the engine counts while they run.
        async with self._scripts.lock:
            await self._replica.catch_up(position)

    async def run(self, commands: Sequence[EngineCommand]) -> tuple[list[EngineReply], int]:
        """Run plain reads, and return their replies and the replica's position."""
        async with self._scripts.lock:
            return await self._replica.run(commands)

    async def run_scripts(self, commands: Sequence[EngineCommand], user: ScriptUser) -> ScriptReplies:
        """Run reads with scripts among them as a script user."""
        return await self._scripts.run(commands, user)

    async def end_script(self, command: EngineCommand) -> EngineReply:
        """Run a command that ends the running script."""
        (reply,) = await self._connections.run_separately([command])
        return reply

    async def remove_scripts(self) -> None:
        """Empty the cache of scripts. Functions are data, which the replica gets from the leader."""
        async with self._scripts.lock:
            (reply,) = await (await self._connections.get()).run([["SCRIPT", "FLUSH"]])
        if isinstance(reply, hiredis.ReplyError):
            raise EngineLost(f"the scripts of the replica were not removed: {reply}")
