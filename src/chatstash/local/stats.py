"""What the local server was asked: counters, for tests and for showing what a piece of work costs."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class StatsSnapshot:
    """The counters at one moment; the difference of two is what happened between.

    Attributes:
        requests: HTTP requests, refused ones included.
        commands: Commands in them, each one of a batch counted.
        bytes_received: Bytes of the request bodies.
        bytes_sent: Bytes of the reply bodies.
        connections: Connections accepted.
    """

    requests: int = 0
    commands: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    connections: int = 0

    def __sub__(self, earlier: StatsSnapshot) -> StatsSnapshot:
        return StatsSnapshot(
            self.requests - earlier.requests,
            self.commands - earlier.commands,
            self.bytes_received - earlier.bytes_received,
            self.bytes_sent - earlier.bytes_sent,
            self.connections - earlier.connections,
        )


@dataclass
class Stats:
    """The running counters. Written by the server's thread, read by any."""

    _now: StatsSnapshot = field(default_factory=StatsSnapshot)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count_connection(self) -> None:
        """Count one connection that was accepted."""
        with self._lock:
            self._now = replace(self._now, connections=self._now.connections + 1)

    def count(self, *, commands: int, received: int, sent: int) -> None:
        """Count one request."""
        with self._lock:
            now = self._now
            self._now = replace(
                now,
                requests=now.requests + 1,
                commands=now.commands + commands,
                bytes_received=now.bytes_received + received,
                bytes_sent=now.bytes_sent + sent,
            )

    def snapshot(self) -> StatsSnapshot:
        """Return the counters as they are now."""
        with self._lock:
            return self._now
