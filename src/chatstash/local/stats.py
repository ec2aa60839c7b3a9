"""What the local server was asked: counters and a log, for tests and for showing what a piece of work costs."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from chatstash.local.commands import EngineCommand, name_of, text_of
from chatstash.local.masking import Masker

LOG_LENGTH = 10_000
"""How many requests the log keeps, the newest."""
_LONGEST_KEY = 200
_MOST_COMMANDS = 100
# What follows these is a script, or a password.
_ONLY_NAMED = {"EVAL", "EVAL_RO", "AUTH", "HELLO", "ACL", "CONFIG", "MIGRATE"}


@dataclass(frozen=True, slots=True)
class StatsSnapshot:
    """The counters at one moment; the difference of two is what happened between.

    Attributes:
        requests: HTTP requests, refused ones included.
        commands: Commands in them, each one of a batch counted.
        script_commands: Commands that scripts ran.
        writes: Commands among both that write.
        billed_commands: What Upstash would bill: commands, those of scripts, and each write once more for each read
            region.
        bytes_received: Bytes of the request bodies.
        bytes_sent: Bytes of the reply bodies, whether or not a fault let them arrive.
        connections: Connections accepted.
        faults: Requests that a fault was made to hit.
    """

    requests: int = 0
    commands: int = 0
    script_commands: int = 0
    writes: int = 0
    billed_commands: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    connections: int = 0
    faults: int = 0

    def __sub__(self, earlier: StatsSnapshot) -> StatsSnapshot:
        return StatsSnapshot(**{name: getattr(self, name) - getattr(earlier, name) for name in _COUNTERS})

    def to_json(self) -> dict[str, int]:
        """Return the counters by name."""
        return asdict(self)


_COUNTERS = [field.name for field in fields(StatsSnapshot)]


class LoggedRequest(NamedTuple):
    """One request, as the log keeps it: no more of a command than its name and first argument, and no secret.

    The tokens of the server and the passwords of its engines are `***`, wherever they are and however they are written.

    Attributes:
        number: Counted from 1.
        time: When it was answered, in milliseconds since the epoch.
        kind: `command`, `pipeline`, `transaction`, `events`, or `refused` where it was none of these.
        commands: The commands, as `LPUSH message_store:abc`; the first hundred of them.
        command_count: How many there were.
        status: The status of the reply.
        error: The error, where the reply was one.
        bytes_received: Bytes of the body.
        bytes_sent: Bytes of the reply's body.
        billed_commands: What Upstash would bill.
        seconds: How long it took, from the whole request to the whole reply.
        fault: The kind of fault that hit it, if one did.
        replica: Whether a replica that lags answered.
    """

    number: int
    time: int
    kind: str
    commands: tuple[str, ...]
    command_count: int
    status: int
    error: str
    bytes_received: int
    bytes_sent: int
    billed_commands: int
    seconds: float
    fault: str = ""
    replica: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return self._asdict()


def described(commands: Sequence[EngineCommand], mask: Masker) -> tuple[str, ...]:
    """Return commands as the log keeps them."""
    return tuple(_described(command, mask) for command in commands[:_MOST_COMMANDS])


def _described(command: EngineCommand, mask: Masker) -> str:
    name = name_of(command)
    if len(command) == 1 or name in _ONLY_NAMED:
        return mask(name)
    # A key that is cut off could end in the first half of a secret.
    key = mask(text_of(command[1][: _LONGEST_KEY + mask.longest]))[:_LONGEST_KEY]
    return f"{mask(name)} {key}"


class Counted(NamedTuple):
    """What the commands of a request, or a part of them, count as.

    Attributes:
        billed: Commands as Upstash bills them.
        writes: Those that write, within scripts and without.
        script_commands: Those that scripts ran.
    """

    billed: int = 0
    writes: int = 0
    script_commands: int = 0


class Stats:
    """The running counters and the log. Written by the server's thread alone, read by any."""

    def __init__(self) -> None:
        self._log: deque[LoggedRequest] = deque(maxlen=LOG_LENGTH)
        self.on_request: Callable[[LoggedRequest], None] | None = None
        self.reset()

    def reset(self) -> None:
        """Begin anew: counters at 0, an empty log."""
        self.requests = 0
        self.commands = 0
        self.script_commands = 0
        self.writes = 0
        self.billed_commands = 0
        self.bytes_received = 0
        self.bytes_sent = 0
        self.connections = 0
        self.faults = 0
        self._log.clear()

    def count_connection(self) -> None:
        """Count one connection that was accepted."""
        self.connections += 1

    def count(self, entry: LoggedRequest, counted: Counted) -> None:
        """Count one request, and keep it in the log."""
        self.commands += entry.command_count
        self.script_commands += counted.script_commands
        self.writes += counted.writes
        self.billed_commands += counted.billed
        self.bytes_received += entry.bytes_received
        self.bytes_sent += entry.bytes_sent
        self.faults += bool(entry.fault)
        self._log.append(entry)

    def count_late(self, counted: Counted) -> None:
        """Count what a request came to that has been counted and answered before."""
        self.script_commands += counted.script_commands
        self.writes += counted.writes
        self.billed_commands += counted.billed

    def snapshot(self) -> StatsSnapshot:
        """Return the counters as they are now."""
        return StatsSnapshot(**{name: getattr(self, name) for name in _COUNTERS})

    @property
    def log(self) -> list[LoggedRequest]:
        """The newest requests, oldest first."""
        return list(self._log)


def milliseconds() -> int:
    """Return the time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
