"""One database: an engine and what Upstash puts around it - refusals, limits, replicas, what is billed.

It implements no data command itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import hiredis

from chatstash.local import encoding
from chatstash.local.billing import COUNTS, Billing
from chatstash.local.calls import Call, Kind
from chatstash.local.capacity import Capacity
from chatstash.local.command_table import CommandTable
from chatstash.local.commands import (
    EngineCommand,
    EngineReply,
    ends_script,
    name_of,
    runs_script,
    size_of,
)
from chatstash.local.link import Feed, Link, LinkLost, connect, database_number, feed
from chatstash.local.plans import Limits, request_too_large, too_many_commands
from chatstash.local.refusals import BadRequest, explained_option, not_available, not_permitted, refusal_of
from chatstash.local.replica import REPLICATION, Replica, leader_position
from chatstash.local.sandbox import Sandbox
from chatstash.local.scripts import Scripts, explained
from chatstash.local.stats import Counted
from chatstash.local.turns import Turns

_NO_SANDBOX = (
    "ERR scripts are not available: the Redis that was given takes no access rules, "
    "which would keep the scripts of this token within its database ({})"
)
_MAY_END_SCRIPTS = {"SCRIPT", "FUNCTION"}
LONGEST_SCRIPT_SECONDS = 10.0
"""After so long a script is ended, for the engine does nothing else meanwhile; its client gets the engine's error."""


@dataclass(slots=True)
class Answer:
    """What a call came to.

    Attributes:
        replies: One for each command.
        counted: What Upstash would bill for it.
        position: How far in the leader's stream the answer is; where nothing replicates, how many there were.
        replica: Whether the replica answered.
    """

    replies: list[EngineReply]
    counted: Counted = field(default_factory=Counted)
    position: int = 0
    replica: bool = False


class Database:
    """One database behind the REST API.

    Args:
        engine_url: Where the engine is (see `link.connect`).
        limits: What it may hold and be asked.
        read_regions: How many regions a write is billed for besides the first.
        replica_lag: How far a replica that answers reads is behind, in seconds; None is no replica.
        is_ours: Whether the engine serves nobody else.
        trusts_scripts: Whether scripts may run on an engine that takes no access rules (Redis before 6, or a login
            without that permission), where nothing keeps them from its other databases.
    """

    def __init__(
        self,
        engine_url: str,
        *,
        limits: Limits,
        read_regions: int = 0,
        replica_lag: float | None = None,
        is_ours: bool = False,
        trusts_scripts: bool = False,
    ) -> None:
        self._engine_url = engine_url
        self._limits = limits
        self._read_regions = read_regions
        self._replica = None if replica_lag is None else Replica(engine_url, replica_lag)
        self._is_ours = is_ours
        self._scripts = Scripts()
        self._table = CommandTable()
        self._billing = Billing(self._table, read_regions)
        self._capacity = Capacity(limits, self._table)
        self._trusts_scripts = trusts_scripts
        # Scripts have links of their own: what they answer may be nested too deeply to be read, which breaks the link.
        self._links: dict[Sandbox | None, Link] = {}
        self._sandboxes: dict[bool, Sandbox] = {}
        self._turns = Turns()
        self._watching: set[asyncio.Task[list[EngineReply]]] = set()
        self._connecting = asyncio.Lock()
        self._billed = 0
        self._position = 0

    async def open(self) -> None:
        """Connect to the engine, so that what is wrong with it shows before the first request."""
        link = await self._engine()
        (table,) = await link.run([["COMMAND"]])
        self._table = CommandTable.of(table)
        self._billing = Billing(self._table, self._read_regions)
        self._capacity = Capacity(self._limits, self._table)
        self._sandboxes = {
            read_only: Sandbox(self._table, read_only=read_only, is_ours=self._is_ours) for read_only in (False, True)
        }
        await self._capacity.open(link)
        if self._replica is not None:
            await self._replica.open()

    async def close(self) -> None:
        """Close the connections to the engine, and end the replica."""
        if not self._is_ours and len(self._links) > 1:
            with contextlib.suppress(LinkLost, OSError):
                await (await self._engine()).run([sandbox.remove for sandbox in self._sandboxes.values()])
        for link in self._links.values():
            link.close()
        if self._replica is not None:
            await self._replica.close()

    async def answer(self, call: Call, *, read_only: bool, seen: int | None) -> Answer:
        """Run the commands of a call.

        Args:
            read_only: Whether the token permits only reading.
            seen: The position in the leader's stream that a replica must have reached.

        Raises:
            BadRequest: The command, or the transaction as a whole, is refused.
            LinkLost: The engine is gone; the commands may or may not have been run.
        """
        refusals = self._refusals(call.commands, read_only=read_only)
        if call.kind is not Kind.COMMAND:
            refusals = [refusal or _alone(command) for refusal, command in zip(refusals, call.commands, strict=True)]
        if self._capacity.must_look(call.commands):
            found = await self._capacity.refusals(await self._engine(), call.commands)
            refusals = [refusal or found.get(place) for place, refusal in enumerate(refusals)]
        if call.kind is not Kind.PIPELINE and (error := next(filter(None, refusals), None)):
            raise BadRequest(error)
        taken = [command for command, refusal in zip(call.commands, refusals, strict=True) if refusal is None]
        answer = await self._run(call.kind, taken, seen, read_only=read_only)
        self._billed += answer.counted.billed
        if len(taken) < len(refusals):
            ran = iter(answer.replies)
            answer.replies = [hiredis.ReplyError(error) if error else next(ran) for error in refusals]
        return answer

    async def events(self, call: Call, *, read_only: bool) -> Feed:
        """Begin a subscription or MONITOR; raises BadRequest where it is not permitted."""
        (command,) = call.commands
        if read_only and not self._table.is_for_readers(command):
            raise BadRequest(not_permitted(name_of(command)))
        if len(command) < 2 and name_of(command) != "MONITOR":
            raise BadRequest(f"ERR wrong number of arguments for '{name_of(command).lower()}' command")
        return await feed(self._engine_url, command)

    async def flush(self) -> None:
        """Empty the database at once, on the replica too."""
        _, info = await self._certainly([self._to_engine(["FLUSHALL"]), REPLICATION])
        if self._replica is not None:
            await self._replica.catch_up(self._advance(info))

    async def reset(self) -> None:
        """Make the database as it was at the start: empty, no scripts or functions, no commands used up."""
        await self.flush()
        self._billed = 0
        if self._is_ours:
            await self._certainly([["FUNCTION", "FLUSH"], ["SCRIPT", "FLUSH"]])
            self._scripts = Scripts()

    async def _certainly(self, commands: Sequence[EngineCommand]) -> list[EngineReply]:
        """Run commands that must not fail; once no script runs any more."""
        async with self._turns.shared():
            replies = await (await self._engine()).run(commands)
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(reply, hiredis.ReplyError):
                raise LinkLost(f"the database was not emptied, for the engine refuses {name_of(command)}: {reply}")
        return replies

    @property
    def number(self) -> int:
        """Which of its engine's databases it is."""
        return database_number(self._engine_url)

    @property
    def is_running(self) -> bool:
        """Whether what belongs to the database besides its engine is alive."""
        return self._replica is None or self._replica.is_running

    def _advance(self, info: EngineReply) -> int:
        """Return how far the leader is, after a write that was just answered."""
        position = self._position + 1 if self._replica is None else leader_position(info)
        # Replies come by two links, and not in order; what was once reached stays so.
        self._position = max(self._position, position)
        return self._position

    async def _engine(self, sandbox: Sandbox | None = None) -> Link:
        link = self._links.get(sandbox)
        if link is not None and not link.is_lost:
            return link
        async with self._connecting:
            link = self._links.get(sandbox)
            if link is None or link.is_lost:
                link = self._links[sandbox] = await self._connected(sandbox)
            return link

    async def _connected(self, sandbox: Sandbox | None) -> Link:
        link = await connect(self._engine_url)
        replies = await link.run(sandbox.enter) if sandbox is not None else []
        refusal = next((reply for reply in replies if isinstance(reply, hiredis.ReplyError)), None)
        if refusal is not None and not self._trusts_scripts:
            link.close()
            raise BadRequest(_NO_SANDBOX.format(refusal))
        return link

    def _refusals(self, commands: Sequence[EngineCommand], *, read_only: bool) -> list[str | None]:
        refusals = []
        used = self._billed
        for command in commands:
            refusal = self._refusal(command, read_only, used)
            used += refusal is None
            refusals.append(refusal)
        return refusals

    def _refusal(self, command: EngineCommand, read_only: bool, used: int) -> str | None:
        limits = self._limits
        if limits.max_commands is not None and used >= limits.max_commands:
            return too_many_commands(limits.max_commands, used)
        if limits.max_request_bytes is not None and (size := size_of(command)) > limits.max_request_bytes:
            return request_too_large(limits.max_request_bytes, size)
        if (refusal := refusal_of(command)) is not None:
            return refusal
        name = name_of(command)
        if name not in self._table.flags:
            return not_available(name)
        if read_only and not self._table.is_for_readers(command):
            return not_permitted(name)
        return None

    async def _run(self, kind: Kind, commands: Sequence[EngineCommand], seen: int | None, *, read_only: bool) -> Answer:
        names = set(map(name_of, commands))
        if not names.isdisjoint(_MAY_END_SCRIPTS) and any(map(ends_script, commands)):
            return Answer(await self._run_apart(commands), self._billing.counted(commands))
        scripted = any(map(runs_script, names))
        is_read = kind is not Kind.TRANSACTION and not scripted and all(map(self._table.reads, commands))
        if self._replica is not None and is_read:
            return await self._run_on_replica(self._replica, commands, seen)
        if scripted:
            return await self._run_scripts(kind, commands, self._sandboxes[read_only])
        return await self._run_plain(kind, commands)

    async def _run_on_replica(self, replica: Replica, commands: Sequence[EngineCommand], seen: int | None) -> Answer:
        # One from beyond the leader's end is none that this server gave.
        if seen is not None and seen <= self._position:
            await replica.catch_up(seen)
        replies, position = await replica.run(commands)
        counted = self._billing.counted(commands)
        return Answer(self._as_client_expects(commands, replies), counted, position, replica=True)

    async def _run_plain(self, kind: Kind, commands: Sequence[EngineCommand]) -> Answer:
        """Run commands without scripts among them."""
        sent = [self._to_engine(command) for command in commands]
        if kind is Kind.TRANSACTION:
            sent = [["MULTI"], *sent, ["EXEC"]]
        if self._replica is not None:
            sent.append(REPLICATION)
        async with self._turns.shared():
            replies = await (await self._engine()).run(sent)
        position = self._advance(replies.pop() if self._replica is not None else None)
        if kind is Kind.TRANSACTION:
            replies = _of_transaction(replies)
        counted = self._billing.counted(commands)
        return Answer(self._as_client_expects(commands, replies), counted, position)

    async def _run_scripts(self, kind: Kind, commands: Sequence[EngineCommand], sandbox: Sandbox) -> Answer:
        """Run commands with scripts among them, whose own commands are counted by the engine."""
        await self._learn_functions(commands)
        steps = [self._steps(command, None if kind is Kind.TRANSACTION else sandbox) for command in commands]
        sent = [step for group in steps for step in group]
        if kind is Kind.TRANSACTION:
            sent = [["MULTI"], *sent, ["EXEC"]]
        before, *replies, after, info = await self._watched([COUNTS, *sent, COUNTS, REPLICATION], sandbox)
        within = self._billing.within_scripts(sent, replies, before, after)
        replies = _of_transaction(replies) if kind is Kind.TRANSACTION else _of_steps(steps, replies)
        replies = [*map(explained, replies)]
        counted = self._billing.counted(commands, within)
        return Answer(self._as_client_expects(commands, replies), counted, self._advance(info))

    async def _learn_functions(self, commands: Sequence[EngineCommand]) -> None:
        if self._scripts.functions is None and any(name_of(command).startswith("FCALL") for command in commands):
            (libraries,) = await (await self._engine()).run([["FUNCTION", "LIST"]])
            self._scripts.learn_functions(libraries)

    def _steps(self, command: EngineCommand, guard: Sandbox | None) -> list[EngineCommand]:
        """Return what the engine is sent for a command; a transaction locks the whole database, and guards nothing."""
        sent = self._to_engine(command)
        locks = guard is not None and self._is_ours and self._scripts.locks_keys(command)
        return guard.guarded(sent) if guard is not None and locks else [sent]

    def _to_engine(self, command: EngineCommand) -> EngineCommand:
        """Return a command as the engine takes it."""
        if not self._is_ours and name_of(command) == "FLUSHALL":
            # A Redis of the user's may hold other databases besides this one.
            return ["FLUSHDB", *command[1:]]
        return self._scripts.to_engine(command)

    async def _watched(self, commands: Sequence[EngineCommand], sandbox: Sandbox) -> list[EngineReply]:
        """Run commands with a script among them, and end a script that holds up everybody.

        That goes on where whoever asked is gone.
        """
        watching = asyncio.get_running_loop().create_task(self._watch(commands, sandbox))
        self._watching.add(watching)
        watching.add_done_callback(self._watching.discard)
        return await asyncio.shield(watching)

    async def _watch(self, commands: Sequence[EngineCommand], sandbox: Sandbox) -> list[EngineReply]:
        # Alone, for what the engine counts meanwhile is taken for the script's.
        async with self._turns.alone():
            return await self._run_to_the_end((await self._engine(sandbox)).run(commands))

    async def _run_to_the_end(self, replies: asyncio.Future[list[EngineReply]]) -> list[EngineReply]:
        while not (await asyncio.wait({replies}, timeout=LONGEST_SCRIPT_SECONDS))[0]:
            ended = await self._run_apart([["SCRIPT", "KILL"], ["FUNCTION", "KILL"]])
            if self._is_ours and any(str(reply).startswith("UNKILLABLE") for reply in ended):
                # It has written, so that the engine would have to stop in the middle: there is no other way.
                await self._run_apart([["SHUTDOWN", "NOSAVE"]])
        return await replies

    async def _run_apart(self, commands: Sequence[EngineCommand]) -> list[EngineReply]:
        """Run commands on a connection of their own: on the shared one they would wait behind a script that runs."""
        link = await connect(self._engine_url, busy=True)
        try:
            return await link.run(commands)
        finally:
            link.close()

    def _as_client_expects(
        self, commands: Sequence[EngineCommand], replies: Sequence[EngineReply]
    ) -> list[EngineReply]:
        pairs = zip(commands, replies, strict=True)
        return [self._limited(self._scripts.to_client(command, _explained(command, reply))) for command, reply in pairs]

    def _limited(self, reply: EngineReply) -> EngineReply:
        limit = self._limits.max_request_bytes
        if limit is None or isinstance(reply, int) or (size := encoding.size_of(reply)) <= limit:
            return reply
        return hiredis.ReplyError(request_too_large(limit, size))


def _explained(command: EngineCommand, reply: EngineReply) -> EngineReply:
    if not isinstance(reply, hiredis.ReplyError):
        return reply
    return hiredis.ReplyError(explained_option(command, str(reply)))


def _of_transaction(replies: Sequence[EngineReply]) -> list[EngineReply]:
    """Return the replies of a transaction from those to MULTI, its commands and EXEC; raises BadRequest."""
    ran: EngineReply = replies[-1]
    if isinstance(ran, hiredis.ReplyError):
        raise BadRequest(str(next(reply for reply in replies if isinstance(reply, hiredis.ReplyError))))
    return list(ran)


def _of_steps(steps: Sequence[Sequence[EngineCommand]], replies: Sequence[EngineReply]) -> list[EngineReply]:
    """Return one reply for each command from those to what was sent for it."""
    found = []
    start = 0
    for group in steps:
        guards = replies[start : start + 2] if len(group) > 1 else []
        failure = next((reply for reply in guards if isinstance(reply, hiredis.ReplyError)), None)
        found.append(failure or replies[start + len(guards)])
        start += len(group)
    return found


def _alone(command: EngineCommand) -> str | None:
    """Return the error of what must be sent alone, for in a batch it would wait behind what it is to end."""
    if not ends_script(command):
        return None
    return f"ERR {name_of(command)} KILL must be sent as a command of its own here, not in a batch"
