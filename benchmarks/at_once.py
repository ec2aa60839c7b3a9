"""Concurrent asynchronous turns, each of a conversation of its own: how long they take, and whose CPU."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import track

from benchmarks.peers import Chatstash, Community, Peer
from benchmarks.rounds import Bench, conversation
from benchmarks.spread import Runs

_console = Console(stderr=True)


def turns_at_once(
    bench: Bench,
    turns: int,
    kinds: Sequence[type[Peer]] = (Chatstash, Community),
    latency: float = 0.02,
    rounds: int = 5,
) -> dict[str, Any]:
    """Time that many turns at once, with a latency in seconds added at the server; the libraries take turns.

    Each run opens its own connections, but for the first, as an application does that has just started.
    """
    spent: dict[str, list[dict[str, float]]] = {kind.name: [] for kind in kinds}
    for number in track(range(rounds), f"{turns:,} turns at once", console=_console):
        for kind in kinds:
            peers = [bench.make(kind, f"at-once-{turns}-{kind.__name__}-{number}-{index}") for index in range(turns)]
            spent[kind.name].append(asyncio.run(_timed(bench, peers, latency)))
            for peer in peers:
                peer.close()
    return {"turns": turns, "latency_s": latency, "runs": {name: _columns(runs) for name, runs in spent.items()}}


def _columns(runs: Sequence[dict[str, float]]) -> Runs:
    return {cost: [run[cost] for run in runs] for cost in runs[0]}


async def _timed(bench: Bench, peers: Sequence[Peer], latency: float) -> dict[str, float]:
    await peers[0].aread()  # imports, and the first connection
    bench.server.delay(latency)
    gc.collect()
    server, wall, cpu = bench.server.cpu_ms(), time.perf_counter(), time.process_time()
    await asyncio.gather(*map(_converse, peers))
    spent = {"wall_ms": (time.perf_counter() - wall) * 1000, "cpu_ms": (time.process_time() - cpu) * 1000}
    spent["server_cpu_ms"] = bench.server.cpu_ms() - server
    bench.server.delay(0)
    return spent


async def _converse(peer: Peer) -> None:
    await peer.aread()
    await peer.aadd(conversation(2))
