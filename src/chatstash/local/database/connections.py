"""The connections of a database to its engine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import hiredis

from chatstash.local.database.script_user import ScriptUser
from chatstash.local.engine.commands import EngineCommand, EngineReply
from chatstash.local.engine.connection import EngineConnection, EngineLost, connect
from chatstash.local.rest.command_rules import BadRequest

_NO_SCRIPT_USER = (
    "ERR scripts are not available: this Redis does not support access rules, "
    "which would keep the scripts of this token within its database ({})"
)


class Connections:
    """One connection for plain commands, and one for each script user; reconnects when one is lost.

    Scripts have separate connections because a reply that is nested too deeply breaks its connection. `trusts_scripts`
    permits them on an engine without access rules (Redis before 6, or a login that may not set them).
    """

    def __init__(self, engine_url: str, *, trusts_scripts: bool) -> None:
        self._engine_url = engine_url
        self._trusts_scripts = trusts_scripts
        self._connections: dict[ScriptUser | None, EngineConnection] = {}
        self._connecting = asyncio.Lock()

    async def get(self, user: ScriptUser | None = None) -> EngineConnection:
        """Return the connection for plain commands, or that of a script user."""
        connection = self._connections.get(user)
        if connection is not None and not connection.is_lost:
            return connection
        async with self._connecting:
            connection = self._connections.get(user)
            if connection is None or connection.is_lost:
                connection = self._connections[user] = await self._connect(user)
            return connection

    async def run_separately(self, commands: Sequence[EngineCommand]) -> list[EngineReply]:
        """Run commands on a new connection, because the shared ones wait while a script runs."""
        connection = await connect(self._engine_url, busy=True)
        try:
            return await connection.run(commands)
        finally:
            connection.close()

    async def close(self, *, remove_users: bool) -> None:
        """Close all connections."""
        users = [user for user in self._connections if user is not None]
        if users and remove_users:
            with contextlib.suppress(EngineLost, OSError):
                await (await self.get()).run([user.remove for user in users])
        for connection in self._connections.values():
            connection.close()

    async def _connect(self, user: ScriptUser | None) -> EngineConnection:
        connection = await connect(self._engine_url)
        replies = await connection.run(user.enter) if user is not None else []
        error = next((reply for reply in replies if isinstance(reply, hiredis.ReplyError)), None)
        if error is not None and not self._trusts_scripts:
            connection.close()
            raise BadRequest(_NO_SCRIPT_USER.format(error))
        return connection
