"""Counters of the requests that the server answered."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import NamedTuple

from chatstash.local.stats.log import LoggedRequest

LOG_LENGTH = 10_000
"""How many requests the log keeps."""


@dataclass(frozen=True, slots=True)
class StatsSnapshot:
    """The counters at one moment. The difference of two is what happened between them.

    Attributes:
        requests: HTTP requests, rejected ones included.
        commands: Commands in them; each command of a batch counts.
        script_commands: Commands that scripts ran.
        writes: Commands that write, within scripts and without.
        billed_commands: The commands that Upstash would bill: all commands, also within scripts, and each write once
            more for each read region.
        bytes_received: Size of the request bodies, in bytes.
        bytes_sent: Size of the reply bodies, in bytes, even if a fault kept them from the client.
        connections: Accepted connections.
        faults: Requests that a fault hit.
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
        before = asdict(earlier)
        return StatsSnapshot(**{name: count - before[name] for name, count in asdict(self).items()})

    def to_json(self) -> dict[str, int]:
        """Return the counters by name."""
        return asdict(self)


class Counted(NamedTuple):
    """The counts of one request's commands."""

    billed: int = 0
    writes: int = 0
    script_commands: int = 0


class Stats:
    """The running counters and the log. Only the server's thread writes them; any thread may read."""

    def __init__(self) -> None:
        self._log: deque[LoggedRequest] = deque(maxlen=LOG_LENGTH)
        self._counts: Counter[str] = Counter()
        self.on_request: Callable[[LoggedRequest], None] | None = None

    def reset(self) -> None:
        """Set the counters to 0 and empty the log."""
        self._counts.clear()
        self._log.clear()

    def count_connection(self) -> None:
        """Count an accepted connection."""
        self._counts["connections"] += 1

    def count_request(self) -> int:
        """Count a request, and return its number."""
        self._counts["requests"] += 1
        return self._counts["requests"]

    def count(self, entry: LoggedRequest, counted: Counted) -> None:
        """Count what a request did, and add it to the log."""
        counts = self._counts
        counts["commands"] += entry.command_count
        counts["bytes_received"] += entry.bytes_received
        counts["bytes_sent"] += entry.bytes_sent
        counts["faults"] += bool(entry.fault)
        self._log.append(entry)
        self.count_commands(counted)

    def count_commands(self, counted: Counted) -> None:
        """Count only the commands, for a second run of a request that is counted already."""
        self._counts["script_commands"] += counted.script_commands
        self._counts["writes"] += counted.writes
        self._counts["billed_commands"] += counted.billed

    def snapshot(self) -> StatsSnapshot:
        """Return the current counters."""
        return StatsSnapshot(**self._counts)

    @property
    def log(self) -> list[LoggedRequest]:
        """The newest requests, oldest first."""
        return list(self._log)
