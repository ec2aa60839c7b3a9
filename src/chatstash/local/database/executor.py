"""Runs the commands of a database on its engine: plain ones, scripts, and reads on a replica."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import hiredis

from chatstash.local.database.billing import Billing
from chatstash.local.database.connections import Connections
from chatstash.local.database.key_locking import KeyLocking, script_error
from chatstash.local.database.replica_reads import ReplicaReads
from chatstash.local.database.script_runner import ScriptRunner
from chatstash.local.database.script_user import ScriptUser
from chatstash.local.engine.command_table import CommandTable
from chatstash.local.engine.commands import EngineCommand, EngineReply, ends_script, name_of, runs_script
from chatstash.local.engine.connection import EngineLost
from chatstash.local.engine.replica import REPLICATION, position_of
from chatstash.local.rest.command_rules import BadRequest, option_error
from chatstash.local.rest.requests import RequestKind
from chatstash.local.stats.counters import Counted

_MAY_END_SCRIPTS = {"SCRIPT", "FUNCTION"}


@dataclass(slots=True)
class Answer:
    """The result of a request.

    `position` is the position in the leader's stream that the answer reflects; without a replica, a running number.
    """

    replies: list[EngineReply]
    counted: Counted = field(default_factory=Counted)
    position: int = 0
    replica: bool = False


class Executor:
    """Runs commands that were accepted."""

    def __init__(
        self,
        connections: Connections,
        replica: ReplicaReads | None,
        table: CommandTable,
        *,
        read_regions: int,
        embedded: bool,
    ) -> None:
        self._connections = connections
        self._replica = replica
        self._embedded = embedded
        self._key_locking = KeyLocking()
        self._scripts = ScriptRunner(connections, embedded=embedded)
        self._position = 0
        self._table = table
        self._billing = Billing(table, read_regions)
        self._users = {
            read_only: ScriptUser(table, read_only=read_only, embedded=embedded) for read_only in (False, True)
        }

    async def run(
        self, kind: RequestKind, commands: Sequence[EngineCommand], seen: int | None, *, read_only: bool
    ) -> Answer:
        """Run commands; a replica first catches up to the position `seen`, if given."""
        names = set(map(name_of, commands))
        if not names.isdisjoint(_MAY_END_SCRIPTS) and any(map(ends_script, commands)):
            return Answer(await self._end_scripts(commands), self._billing.count(commands))
        scripted = any(map(runs_script, names))
        # EVAL_RO, EVALSHA_RO and FCALL_RO are reads too.
        is_read = kind is not RequestKind.TRANSACTION and all(map(self._table.reads, commands))
        if self._replica is not None and is_read:
            # A position beyond the leader's is not from this server.
            if seen is not None and seen <= self._position:
                await self._replica.catch_up(seen)
            if scripted:
                return await self._run_scripts_on_replica(self._replica, commands, self._users[read_only])
            return await self._run_on_replica(self._replica, commands)
        if scripted:
            return await self._run_scripts(kind, commands, self._users[read_only])
        return await self._run_plain(kind, commands)

    async def flush(self) -> None:
        """Empty the database, and the replica too; raises EngineLost if the engine refuses."""
        _, info = await self._run_or_raise([self._to_engine(["FLUSHALL"]), REPLICATION])
        if self._replica is not None:
            await self._replica.catch_up(self._advance(info))

    async def remove_scripts(self) -> None:
        """Remove scripts and functions, unless other databases of the engine share them."""
        if self._embedded:
            *_, info = await self._run_or_raise([["FUNCTION", "FLUSH"], ["SCRIPT", "FLUSH"], REPLICATION])
            self._key_locking = KeyLocking()
            if self._replica is not None:
                await self._replica.catch_up(self._advance(info))
                await self._replica.remove_scripts()

    async def _end_scripts(self, commands: Sequence[EngineCommand]) -> list[EngineReply]:
        replies = await self._connections.run_separately(commands)
        if self._replica is None:
            return replies
        # The script may run on the replica.
        pairs = zip(commands, replies, strict=True)
        return [await self._replica.end_script(c) if isinstance(r, hiredis.ReplyError) else r for c, r in pairs]

    async def _run_or_raise(self, commands: Sequence[EngineCommand]) -> list[EngineReply]:
        async with self._scripts.lock:
            replies = await (await self._connections.get()).run(commands)
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(reply, hiredis.ReplyError):
                raise EngineLost(f"the database was not emptied: the engine refuses {name_of(command)}: {reply}")
        return replies

    def _advance(self, info: EngineReply) -> int:
        """Return the position of the leader after a write."""
        position = self._position + 1 if self._replica is None else position_of(info, "master")
        # Replies of two connections arrive in any order; the position never goes back.
        self._position = max(self._position, position)
        return self._position

    async def _run_on_replica(self, replica: ReplicaReads, commands: Sequence[EngineCommand]) -> Answer:
        replies, position = await replica.run(commands)
        return Answer(self._to_client(commands, replies), self._billing.count(commands), position, replica=True)

    async def _run_plain(self, kind: RequestKind, commands: Sequence[EngineCommand]) -> Answer:
        sent = [self._to_engine(command) for command in commands]
        if kind is RequestKind.TRANSACTION:
            sent = [["MULTI"], *sent, ["EXEC"]]
        if self._replica is not None:
            sent.append(REPLICATION)
        async with self._scripts.lock:
            replies = await (await self._connections.get()).run(sent)
        position = self._advance(replies.pop() if self._replica is not None else None)
        if kind is RequestKind.TRANSACTION:
            replies = _of_transaction(replies)
        return Answer(self._to_client(commands, replies), self._billing.count(commands), position)

    async def _run_scripts(self, kind: RequestKind, commands: Sequence[EngineCommand], user: ScriptUser) -> Answer:
        """Run commands with scripts among them; the engine counts what the scripts run."""
        await self._learn_functions(commands)
        is_transaction = kind is RequestKind.TRANSACTION
        groups = [self._to_guarded(command, None if is_transaction else user) for command in commands]
        sent = [step for group in groups for step in group]
        if is_transaction:
            sent = [["MULTI"], *sent, ["EXEC"]]
        replies, before, after, info = await self._scripts.run(sent, user)
        scripted = self._billing.within_scripts(sent, replies, before, after)
        replies = _of_transaction(replies) if is_transaction else _of_groups(groups, replies)
        counted = self._billing.count(commands, scripted)
        return Answer(self._to_client(commands, [*map(script_error, replies)]), counted, self._advance(info))

    async def _run_scripts_on_replica(
        self, replica: ReplicaReads, commands: Sequence[EngineCommand], user: ScriptUser
    ) -> Answer:
        await self._learn_functions(commands)
        groups = [self._to_guarded(command, user) for command in commands]
        sent = [step for group in groups for step in group]
        replies, before, after, info = await replica.run_scripts(sent, user)
        counted = self._billing.count(commands, self._billing.reads_within_scripts(sent, replies, before, after))
        replies = [*map(script_error, _of_groups(groups, replies))]
        return Answer(self._to_client(commands, replies), counted, position_of(info, "slave"), replica=True)

    async def _learn_functions(self, commands: Sequence[EngineCommand]) -> None:
        if self._key_locking.functions is None and any(name_of(command).startswith("FCALL") for command in commands):
            (libraries,) = await (await self._connections.get()).run([["FUNCTION", "LIST"]])
            self._key_locking.learn_functions(libraries)

    def _to_guarded(self, command: EngineCommand, user: ScriptUser | None) -> list[EngineCommand]:
        """Return what the engine is sent for a command. A transaction locks the whole database, so it has no user."""
        sent = self._to_engine(command)
        if user is not None and self._embedded and self._key_locking.locks_keys(command):
            return user.guarded(sent)
        return [sent]

    def _to_engine(self, command: EngineCommand) -> EngineCommand:
        if not self._embedded and name_of(command) == "FLUSHALL":
            # The Redis may hold other databases.
            return ["FLUSHDB", *command[1:]]
        return self._key_locking.to_engine(command)

    def _to_client(self, commands: Sequence[EngineCommand], replies: Sequence[EngineReply]) -> list[EngineReply]:
        pairs = zip(commands, replies, strict=True)
        return [self._key_locking.to_client(command, _with_option_error(command, reply)) for command, reply in pairs]


def _with_option_error(command: EngineCommand, reply: EngineReply) -> EngineReply:
    return hiredis.ReplyError(option_error(command, str(reply))) if isinstance(reply, hiredis.ReplyError) else reply


def _of_transaction(replies: Sequence[EngineReply]) -> list[EngineReply]:
    """Return the replies within a transaction, from those to MULTI, its commands and EXEC; raises BadRequest."""
    ran: EngineReply = replies[-1]
    if isinstance(ran, hiredis.ReplyError):
        raise BadRequest(str(next(reply for reply in replies if isinstance(reply, hiredis.ReplyError))))
    return list(ran)


def _of_groups(groups: Sequence[Sequence[EngineCommand]], replies: Sequence[EngineReply]) -> list[EngineReply]:
    """Return one reply for each command, from those to the group of commands that was sent for it."""
    found = []
    start = 0
    for group in groups:
        guards = replies[start : start + 2] if len(group) > 1 else []
        failure = next((reply for reply in guards if isinstance(reply, hiredis.ReplyError)), None)
        found.append(failure or replies[start + len(guards)])
        start += len(group)
    return found
