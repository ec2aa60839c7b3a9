"""One database behind the REST API: which commands it accepts, and their answers."""

from __future__ import annotations

from collections.abc import Sequence

import hiredis

from chatstash.local.database.connections import Connections
from chatstash.local.database.executor import Answer, Executor
from chatstash.local.database.plans import Limits, too_large, too_many_commands
from chatstash.local.database.replica_reads import ReplicaReads
from chatstash.local.database.size_limits import SizeLimits
from chatstash.local.engine.address import database_number
from chatstash.local.engine.command_table import CommandTable
from chatstash.local.engine.commands import EngineReply, ends_script, name_of, size_of
from chatstash.local.engine.connection import Subscription, subscribe
from chatstash.local.rest import encoding
from chatstash.local.rest.command_rules import BadRequest, not_available, not_permitted, rejection_of
from chatstash.local.rest.requests import RequestKind, RestRequest


class Database:
    """One database. An `embedded` engine serves nothing else; a replica lags by `replica_lag` seconds."""

    def __init__(
        self,
        engine_url: str,
        *,
        limits: Limits,
        read_regions: int = 0,
        replica_lag: float | None = None,
        embedded: bool = False,
        trusts_scripts: bool = False,
    ) -> None:
        self._engine_url = engine_url
        self._limits = limits
        self._embedded = embedded
        self._replica = None if replica_lag is None else ReplicaReads(engine_url, replica_lag)
        self._connections = Connections(engine_url, trusts_scripts=trusts_scripts)
        self._table = CommandTable()
        self._executor = Executor(
            self._connections, self._replica, self._table, read_regions=read_regions, embedded=embedded
        )
        self._size_limits = SizeLimits(limits, self._table)
        self._billed = 0

    async def open(self) -> None:
        """Connect to the engine, so that its errors show before the first request."""
        engine = await self._connections.get()
        (commands,) = await engine.run([["COMMAND"]])
        self._table.learn(commands)
        await self._size_limits.open(engine)
        if self._replica is not None:
            await self._replica.open()

    async def close(self) -> None:
        """Close the connections to the engine, and stop the replica."""
        await self._connections.close(remove_users=not self._embedded)
        if self._replica is not None:
            await self._replica.close()

    async def answer(self, request: RestRequest, *, read_only: bool, seen: int | None) -> Answer:
        """Run the commands of a request; a replica first catches up to the position `seen`, if given."""
        errors = await self._errors(request, read_only=read_only)
        if request.kind is not RequestKind.PIPELINE and (error := next(filter(None, errors), None)):
            raise BadRequest(error)
        accepted = [command for command, error in zip(request.commands, errors, strict=True) if error is None]
        answer = await self._executor.run(request.kind, accepted, seen, read_only=read_only)
        self._billed += answer.counted.billed
        replies = map(self._limited, answer.replies)
        answer.replies = [hiredis.ReplyError(error) if error else next(replies) for error in errors]
        return answer

    async def subscribe(self, request: RestRequest, *, read_only: bool) -> Subscription:
        """Start a subscription or MONITOR; raises BadRequest if it is not permitted."""
        (command,) = request.commands
        if read_only and not self._table.is_for_readers(command):
            raise BadRequest(not_permitted(name_of(command)))
        if len(command) < 2 and name_of(command) != "MONITOR":
            raise BadRequest(f"ERR wrong number of arguments for '{name_of(command).lower()}' command")
        return await subscribe(self._engine_url, command)

    async def flush(self) -> None:
        """Empty the database, and the replica too; raises EngineLost if the engine refuses."""
        await self._executor.flush()

    async def reset(self) -> None:
        """Restore the state at the start: no data, scripts or functions, and the whole quota of commands."""
        await self.flush()
        self._billed = 0
        await self._executor.remove_scripts()

    @property
    def number(self) -> int:
        """The number of the database within its engine."""
        return database_number(self._engine_url)

    @property
    def is_running(self) -> bool:
        """Whether the replica is alive, if there is one."""
        return self._replica is None or self._replica.is_running

    async def _errors(self, request: RestRequest, *, read_only: bool) -> list[str | None]:
        """Return the error of each command that is rejected, and None for the others."""
        errors = []
        used = self._billed
        for command in request.commands:
            error = self._error(command, read_only, used)
            if error is None and request.kind is not RequestKind.COMMAND and ends_script(command):
                # In a batch it would wait for the script that it should end.
                error = f"ERR {name_of(command)} KILL must be sent as a single command, not in a batch"
            used += error is None
            errors.append(error)
        if self._size_limits.may_exceed(request.commands):
            found = await self._size_limits.errors(await self._connections.get(), request.commands)
            errors = [error or found.get(place) for place, error in enumerate(errors)]
        return errors

    def _error(self, command: Sequence[str | bytes], read_only: bool, used: int) -> str | None:
        limits = self._limits
        if limits.max_commands is not None and used >= limits.max_commands:
            return too_many_commands(limits.max_commands, used)
        if limits.max_request_bytes is not None and (size := size_of(command)) > limits.max_request_bytes:
            return too_large("request", limits.max_request_bytes, size)
        if (error := rejection_of(command)) is not None:
            return error
        name = name_of(command)
        if name not in self._table.flags:
            return not_available(name)
        if read_only and not self._table.is_for_readers(command):
            return not_permitted(name)
        return None

    def _limited(self, reply: EngineReply) -> EngineReply:
        """Return a reply, or the error of one that is too large."""
        limit = self._limits.max_request_bytes
        if limit is None or isinstance(reply, int) or (size := encoding.size_of(reply)) <= limit:
            return reply
        return hiredis.ReplyError(too_large("request", limit, size))
