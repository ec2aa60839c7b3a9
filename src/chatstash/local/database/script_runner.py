"""Runs scripts on one engine: nothing else runs meanwhile, and those that take too long are ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from chatstash.local.database.billing import COUNTS
from chatstash.local.database.connections import Connections
from chatstash.local.database.script_user import ScriptUser
from chatstash.local.database.shared_lock import SharedLock
from chatstash.local.engine.commands import EngineCommand, EngineReply
from chatstash.local.engine.replica import REPLICATION

LONGEST_SCRIPT_SECONDS = 10.0
"""After this time a script is ended, because the engine runs nothing else meanwhile; its client gets an error."""


class ScriptReplies(NamedTuple):
    """The replies to commands with scripts among them.

    `before` and `after` are the engine's counts of commands, and `info` its position in the leader's stream.
    """

    replies: list[EngineReply]
    before: EngineReply
    after: EngineReply
    info: EngineReply


class ScriptRunner:
    """Runs scripts on one engine. Other commands to it hold `lock`, which the scripts take exclusively."""

    def __init__(self, connections: Connections, *, embedded: bool) -> None:
        self.lock = SharedLock()
        self._connections = connections
        self._embedded = embedded

    async def run(self, commands: Sequence[EngineCommand], user: ScriptUser) -> ScriptReplies:
        """Run commands with scripts among them as a script user."""
        # All commands that the engine counts meanwhile are billed to the scripts.
        async with self.lock.exclusive():
            running = (await self._connections.get(user)).run([COUNTS, *commands, COUNTS, REPLICATION])
            while not (await asyncio.wait({running}, timeout=LONGEST_SCRIPT_SECONDS))[0]:
                await self._end_script()
            before, *replies, after, info = await running
        return ScriptReplies(replies, before, after, info)

    async def _end_script(self) -> None:
        ended = await self._connections.run_separately([["SCRIPT", "KILL"], ["FUNCTION", "KILL"]])
        if self._embedded and any(str(reply).startswith("UNKILLABLE") for reply in ended):
            # A script that has written cannot be killed; only the whole engine can be stopped.
            await self._connections.run_separately([["SHUTDOWN", "NOSAVE"]])
