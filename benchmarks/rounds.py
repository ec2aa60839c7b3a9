"""Rounds in which pieces of work take turns, on one local server."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from rich.console import Console
from rich.progress import track

from benchmarks.local_server import Relay, Server
from benchmarks.peers import Peer
from benchmarks.spread import Runs, columns

CHARACTERS = 200
_console = Console(stderr=True)


def conversation(count: int, characters: int = CHARACTERS) -> list[BaseMessage]:
    """Return the messages of a conversation: questions and answers alternate."""
    return [(AIMessage if index % 2 else HumanMessage)("x" * characters) for index in range(count)]


@dataclass(frozen=True)
class Bench:
    """The server, the relays and the number of rounds of all measurements.

    Attributes:
        server: The server.
        relays: Count the bytes: over HTTP, and over the Redis protocol.
        rounds: Runs of each measurement; the median counts.
    """

    server: Server
    relays: tuple[Relay, Relay]
    rounds: int

    def make(self, kind: type[Peer], session_id: str) -> Peer:
        """Make a conversation of a library."""
        return kind(session_id, self.server.url, f"redis://127.0.0.1:{self.server.redis_port}/0")

    def relayed(self, kind: type[Peer], session_id: str) -> Peer:
        """Make a conversation of a library, with its bytes counted."""
        http, redis = self.relays
        return kind(session_id, f"http://127.0.0.1:{http.port}", f"redis://127.0.0.1:{redis.port}/0")

    def runs(self, name: str, works: dict[str, Work], *, times: int = 1) -> dict[str, Runs]:
        """Return the CPU and wall milliseconds of each run; the works take turns, for `times` as many rounds."""
        spent: dict[str, list[tuple[float, float]]] = {kind: [] for kind in works}
        for _ in track(range(self.rounds * times + 1), name, console=_console):
            for kind, work in works.items():
                work.before()
                spent[kind].append(_time_of(work.run))
        return {kind: columns(runs[1:]) for kind, runs in spent.items()}

    def bytes_of(self, run: Callable[[], object]) -> int:
        """Return the bytes sent and received."""
        start = sum(relay.count for relay in self.relays)
        run()
        time.sleep(0.05)  # other threads count the last bytes
        return sum(relay.count for relay in self.relays) - start


@dataclass(frozen=True)
class Work:
    """The work that is timed, and the untimed preparation before each run."""

    run: Callable[[], object]
    before: Callable[[], object] = lambda: None


def _time_of(run: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return (time.process_time() - cpu) * 1000, (time.perf_counter() - wall) * 1000
