"""chatstash compared with other libraries: `make bench`, `python -m benchmarks.compare --json FILE`.

Each figure is a ratio within one run against one local server in another process. The libraries take turns, and the
median of each counts. CPU is that of this process alone. Asserts nothing.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, messages_from_dict, messages_to_dict
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.local_server import TOKEN, Relay, Server, server
from benchmarks.machine import machine
from benchmarks.output import parser_of, write
from benchmarks.peers import Chatstash, ChatstashCached, Community, Peer, able
from benchmarks.start_up import start_up
from benchmarks.table import rows
from chatstash import UpstashRedisChatMessageHistory

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

    def medians(self, name: str, works: dict[str, Work]) -> dict[str, tuple[float, float]]:
        """Return the CPU and wall milliseconds of each; they take turns."""
        spent: dict[str, list[tuple[float, float]]] = {kind: [] for kind in works}
        for _ in track(range(self.rounds + 1), name, console=_console):
            for kind, work in works.items():
                work.before()
                spent[kind].append(_time_of(work.run))
        return {kind: _medians(runs[1:]) for kind, runs in spent.items()}

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
    return time.process_time() - cpu, time.perf_counter() - wall


def _medians(runs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    cpu, wall = (statistics.median(column) * 1000 for column in zip(*runs, strict=True))
    return cpu, wall


def turn(bench: Bench, kinds: Sequence[type[Peer]]) -> list[dict[str, Any]]:
    """Count a turn, with a ttl, on a conversation of 100 messages: read, then add question and answer."""
    found = []
    for kind in kinds:
        peer, relayed = bench.make(kind, f"turn-{kind.__name__}"), bench.relayed(kind, f"turn-{kind.__name__}")
        peer.add(conversation(100))
        for used in (peer, relayed):
            used.read()
        before = bench.server.stats()
        _turn(peer)
        after = bench.server.stats()
        found.append({
            "library": kind.name,
            "requests": after["requests"] - before["requests"] if kind.over_http else None,
            "billed_commands": after["billed_commands"] - before["billed_commands"] if kind.over_http else None,
            "bytes": bench.bytes_of(lambda relayed=relayed: _turn(relayed)),
        })  # fmt: skip
        peer.close()
        relayed.close()
    return found


def _turn(peer: Peer) -> None:
    peer.read()
    peer.add(conversation(2))


def add_many(bench: Bench, kinds: Sequence[type[Peer]], count: int = 500) -> list[dict[str, Any]]:
    """Time adding many messages at once."""
    peers = {kind.name: bench.make(kind, f"many-{kind.__name__}") for kind in kinds}
    messages = conversation(count)
    spent = bench.medians(f"add {count}", {name: Work(lambda p=peer: p.add(messages)) for name, peer in peers.items()})
    rows = []
    for kind in kinds:
        before = bench.server.stats()["requests"]
        peers[kind.name].add(messages)
        requests = bench.server.stats()["requests"] - before if kind.over_http else None
        rows.append({"library": kind.name, "cpu_ms": spent[kind.name][0], "wall_ms": spent[kind.name][1],
                     "requests": requests})  # fmt: skip
        peers[kind.name].close()
    return rows


def read_own(bench: Bench, kinds: Sequence[type[Peer]], count: int = 1000) -> list[dict[str, Any]]:
    """Time reading messages that the library itself wrote."""
    messages = conversation(count)
    works, sizes = {}, {}
    for kind in kinds:
        name = f"own-{kind.__name__}"
        peer, relayed = bench.make(kind, name), bench.relayed(kind, name)
        peer.add(messages)
        assert len(peer.read()) == count
        works[kind.name] = Work(peer.read)
        relayed.read()
        sizes[kind.name] = bench.bytes_of(relayed.read)
        relayed.close()
    spent = bench.medians(f"read {count}", works)
    return [
        {"library": kind.name, "cpu_ms": spent[kind.name][0], "wall_ms": spent[kind.name][1], "bytes": sizes[kind.name]}
        for kind in kinds
    ]


def read_by_both(bench: Bench, count: int = 1000) -> dict[str, Any]:
    """Time reading messages that the old class wrote, with both, and LangChain's own share of it."""
    messages = conversation(count)
    theirs, ours = bench.make(Community, "by-both"), bench.make(Chatstash, "by-both")
    theirs.add(messages)
    assert list(ours.read()) == list(theirs.read()) == messages
    dicts = messages_to_dict(messages)
    spent = bench.medians(f"read {count} of the old class", {
        "chatstash": Work(ours.read), "langchain-community": Work(theirs.read),
        "messages_from_dict": Work(lambda: messages_from_dict(dicts)),
    })  # fmt: skip
    return {name: {"cpu_ms": cpu, "wall_ms": wall} for name, (cpu, wall) in spent.items()}


def next_turn(bench: Bench, count: int = 1000) -> dict[str, Any]:
    """Time the read of the next turn of a conversation, with and without a cache."""
    found, works = {}, {}
    for kind in (Chatstash, ChatstashCached, Community):
        name = f"next-{kind.__name__}"
        peer, relayed = bench.make(kind, name), bench.relayed(kind, name)
        peer.add(conversation(count))
        for used in (peer, relayed):
            used.read()
        relayed.add(conversation(2))
        found[kind.name] = {"bytes": bench.bytes_of(relayed.read)}
        works[kind.name] = Work(peer.read, lambda peer=peer: peer.add(conversation(2)))
        relayed.close()
    for name, (cpu, wall) in bench.medians("next turn", works).items():
        found[name] |= {"cpu_ms": cpu, "wall_ms": wall}
    return found


def append(bench: Bench, count: int = 1000) -> dict[str, Any]:
    """Time the client's CPU for an append."""
    messages = conversation(count)
    peers = {kind.name: bench.make(kind, f"append-{kind.__name__}") for kind in (Chatstash, Community)}
    works = {name: Work(lambda peer=peer: peer.add(messages)) for name, peer in peers.items()}
    spent = bench.medians(f"append {count}", works)
    return {name: {"cpu_ms": cpu, "wall_ms": wall} for name, (cpu, wall) in spent.items()}


def concurrent_turns(bench: Bench, turns: int = 200, latency: float = 0.02) -> dict[str, Any]:
    """Time concurrent asynchronous turns of as many conversations, with a latency added at the server."""
    found: dict[str, list[float]] = {Chatstash.name: [], Community.name: []}
    bench.server.delay(latency)
    for number in track(range(3), f"{turns} turns at once", console=_console):
        for kind in (Chatstash, Community):
            peers = [bench.make(kind, f"at-once-{kind.__name__}-{number}-{index}") for index in range(turns)]
            found[kind.name].append(asyncio.run(_all_at_once(peers)))
            if kind is Community:
                for peer in peers:
                    peer.close()
    bench.server.delay(0)
    return {"turns": turns, "latency_s": latency, "seconds": {n: statistics.median(s) for n, s in found.items()}}


async def _all_at_once(peers: Sequence[Peer]) -> float:
    async def converse(peer: Peer) -> None:
        await peer.aread()
        await peer.aadd(conversation(2))

    await peers[0].aread()  # imports, and the first connection
    start = time.perf_counter()
    await asyncio.gather(*map(converse, peers))
    return time.perf_counter() - start


def connections(bench: Bench, histories: int = 200) -> dict[str, int]:
    """Count the connections that histories open when used one after the other."""
    found = {}
    for kind in (Chatstash, Community):
        before = bench.server.stats()["connections"]
        for index in range(histories):
            peer = bench.make(kind, f"in-turn-{index}")
            peer.read()
            peer.close()
        found[kind.name] = bench.server.stats()["connections"] - before
    return found


def windows(bench: Bench, lengths: Sequence[int], last: int = 20) -> list[dict[str, Any]]:
    """Time a window on conversations of several lengths."""
    http = f"http://127.0.0.1:{bench.relays[0].port}"
    works, sizes = {}, []
    for length in lengths:
        history = UpstashRedisChatMessageHistory(f"window-{length}", bench.server.url, TOKEN)
        for _ in range(0, length, 10_000):
            history.add_messages(conversation(min(length, 10_000)))
        works[f"{length}"] = Work(partial(history.read, last=last))
        relayed = UpstashRedisChatMessageHistory(f"window-{length}", http, TOKEN)
        relayed.read(last=last)
        sizes.append(bench.bytes_of(partial(relayed.read, last=last)))
    spent = bench.medians(f"a window of {last}", works).values()
    return [
        {"length": length, "cpu_ms": cpu, "wall_ms": wall, "bytes": size}
        for length, size, (cpu, wall) in zip(lengths, sizes, spent, strict=True)
    ]


def memory(bench: Bench, count: int = 1000) -> dict[str, int]:
    """Return the bytes that a conversation takes at the server."""
    found = {}
    for kind in (Chatstash, Community):
        bench.make(kind, f"memory-{kind.__name__}").add(conversation(count))
        key = f"message_store:memory-{kind.__name__}"
        found[kind.name] = int(bench.server.run("MEMORY", "USAGE", key, "SAMPLES", 0))
    return found


def measure(rounds: int, lengths: Sequence[int]) -> dict[str, Any]:
    """Measure everything."""
    with server() as local:
        bench = Bench(local, (Relay(local.port), Relay(local.redis_port)), rounds)
        kinds, absent = able(lambda kind: bench.make(kind, "able"))
        uncached = [kind for kind in kinds if kind is not ChatstashCached]
        return {
            "machine": machine(),
            "absent": absent,
            "turn": turn(bench, kinds),
            "add_many": add_many(bench, uncached),
            "read_own": read_own(bench, uncached),
            "read_by_both": read_by_both(bench),
            "next_turn": next_turn(bench),
            "append": append(bench),
            "concurrent_turns": concurrent_turns(bench),
            "connections": connections(bench),
            "windows": windows(bench, lengths),
            "memory": memory(bench),
            "start_up": start_up(rounds),
        }


def show(found: dict[str, Any]) -> None:
    """Print the figures that have an aim."""
    table = Table("work", "aim", "measured", "")
    for row in rows(found):
        table.add_row(row.work, row.aim, row.figure, "met" if row.is_met else "missed")
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    for name, reason in found["absent"].items():
        _console.print(f"{name} cannot run here: {reason}", highlight=False)


def main() -> None:
    """Measure, print, and write JSON if asked."""
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="runs of each; the median counts (default 15)")
    parser.add_argument("--quick", action="store_true", help="3 runs of each, and windows on 10,000 messages at most")
    options = parser.parse_args()
    lengths = [100, 1000, 10_000] if options.quick else [100, 1000, 10_000, 100_000]
    found = measure(3 if options.quick else options.rounds, lengths)
    show(found)
    write(found, options.json)


if __name__ == "__main__":
    main()
