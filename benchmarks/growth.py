"""How costs grow with a conversation's length and with concurrent conversations: part of `make bench`.

`python -m benchmarks.growth --json FILE`. A cost that grows with the power e of the size has the exponent e: with 0
it is constant, with 1 it doubles with the size. It is fitted to the larger half of the sizes by least squares of the
logarithms, with its standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from langchain_core.messages import messages_to_dict
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.local_server import TOKEN, Relay, Server, server
from benchmarks.machine import machine
from benchmarks.output import parser_of, write
from benchmarks.peers import Chatstash, Community
from benchmarks.rounds import conversation
from chatstash import Store, UpstashRedisChatMessageHistory

LENGTHS = (10, 100, 1000, 10_000, 100_000)
CONVERSATIONS = (1, 10, 100, 1000)
_OLD_CONVERSATIONS = 200
"""The old class takes too long with more at once: each of its turns runs in a thread."""

_console = Console(stderr=True)


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> tuple[float, float]:
    """Return the exponent with which costs grow, and its standard error, over the larger half of the sizes."""
    half = max(3, math.ceil(len(sizes) / 2))
    xs, ys = ([math.log(value) for value in values[-half:]] for values in (sizes, costs))
    slope, intercept = statistics.linear_regression(xs, ys)
    left = sum((y - slope * x - intercept) ** 2 for x, y in zip(xs, ys, strict=True))
    spread = sum((x - statistics.mean(xs)) ** 2 for x in xs)
    return slope, math.sqrt(left / (len(xs) - 2) / spread)


def fill(local: Server, length: int) -> None:
    """Store a conversation as each class would, at `new-…` and `old-…`."""
    new = UpstashRedisChatMessageHistory(f"new-{length}", local.url, TOKEN)
    old = [json.dumps(message) for message in messages_to_dict(conversation(min(length, 5000)))]
    for done in range(0, length, 5000):
        count = min(5000, length - done)
        new.add_messages(conversation(count))
        local.run("LPUSH", f"message_store:old-{length}", *old[:count])


def _works(url: str, length: int) -> dict[str, Callable[[], object]]:
    """Return the measured operations on a conversation of that length."""
    new = UpstashRedisChatMessageHistory(f"new-{length}", url, TOKEN)
    old = Community(f"old-{length}", url, "")
    cached = UpstashRedisChatMessageHistory(f"new-{length}", store=Store(url, TOKEN, cache_bytes=10**9))
    _ = cached.messages

    return {
        "read all": lambda: new.messages,
        "read all, old class": old.read,
        "read all again, cached": lambda: cached.messages,
        "window of 20": partial(new.read, last=20),
        "window of 2,000 tokens": partial(new.read, max_tokens=2000),
        "add 2": partial(new.add_messages, conversation(2)),
    }


def by_length(local: Server, lengths: Sequence[int]) -> list[dict[str, Any]]:
    """Measure the operations on one conversation, by its length."""
    curves: dict[str, list[dict[str, float]]] = {}
    relay = Relay(local.port)
    for length in track(lengths, "by length", console=_console):
        fill(local, length)
        relayed = _works(f"http://127.0.0.1:{relay.port}", length)
        for name, run in _works(local.url, length).items():
            before = relay.count
            relayed[name]()
            time.sleep(0.05)  # another thread counts the last bytes
            size = relay.count - before
            cpu, wall = _medians(run, rounds=3 if length > 10_000 else 9)
            curves.setdefault(name, []).append({"n": length, "cpu_ms": cpu, "wall_ms": wall, "bytes": size})
    return [_curve(name, points) for name, points in curves.items()]


def memory_by_length(local: Server, lengths: Sequence[int]) -> list[dict[str, Any]]:
    """Measure the memory of a conversation at the server, and of a client process that reads it."""
    curves = []
    for name, prefix in (("chatstash", "new"), ("old class", "old")):
        points = [
            {
                "n": length,
                "server_bytes": int(local.run("MEMORY", "USAGE", f"message_store:{prefix}-{length}", "SAMPLES", 0)),
                "client_bytes": _client_peak(local, f"{prefix}-{length}"),
            }
            for length in lengths
        ]
        curves.append(_curve(f"memory, {name}", points))
    return curves


def _client_peak(local: Server, session_id: str) -> int:
    """Return the peak memory, in bytes, of a new process that reads a conversation."""
    module = "benchmarks.growth"
    command = [sys.executable, "-W", "ignore", "-m", module, "--client", local.url, session_id]
    return int(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)


def _be_client(url: str, session_id: str) -> None:
    kind = Community if session_id.startswith("old") else Chatstash
    kind("nothing", url, "").read()
    tracemalloc.start()
    kind(session_id, url, "").read()
    print(tracemalloc.get_traced_memory()[1])


def by_conversations(local: Server, counts: Sequence[int]) -> list[dict[str, Any]]:
    """Measure concurrent asynchronous turns of conversations of 20 messages."""
    curves = []
    for name, kind, most in (("chatstash", Chatstash, counts[-1]), ("old class", Community, _OLD_CONVERSATIONS)):
        points = []
        for count in track([count for count in counts if count <= most], f"at once, {name}", console=_console):
            peers = [kind(f"{name}-{index}", local.url, "") for index in range(count)]
            asyncio.run(_turns(peers, 20))
            spent = [asyncio.run(_timed(_turns(peers, 2))) for _ in range(3)]
            points.append({"n": count, **_middle(spent)})
        curves.append(_curve(f"turns at once, {name}", points))
    return curves


async def _turns(peers: Sequence[Chatstash], added: int) -> None:
    async def turn(peer: Chatstash) -> None:
        await peer.aread()
        await peer.aadd(conversation(added))

    await asyncio.gather(*map(turn, peers))


async def _timed(work: Any) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    await work
    return (time.process_time() - cpu) * 1000, (time.perf_counter() - wall) * 1000


def _middle(spent: Sequence[tuple[float, float]]) -> dict[str, float]:
    cpu, wall = (statistics.median(column) for column in zip(*spent, strict=True))
    return {"cpu_ms": cpu, "wall_ms": wall}


def _medians(run: Callable[[], object], rounds: int) -> tuple[float, float]:
    run()
    spent = []
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        spent.append(((time.process_time() - cpu) * 1000, (time.perf_counter() - wall) * 1000))
    return tuple(_middle(spent).values())  # type: ignore[return-value]


def _curve(name: str, points: Sequence[dict[str, float]]) -> dict[str, Any]:
    sizes = [point["n"] for point in points]
    costs = [cost for cost in points[0] if cost != "n"]
    fitted = {cost: exponent(sizes, [point[cost] for point in points]) for cost in costs if len(points) > 2}
    return {"work": name, "points": list(points), "exponents": fitted}


def measure(lengths: Sequence[int], counts: Sequence[int]) -> dict[str, Any]:
    """Measure all curves."""
    with server() as local:
        return {
            "machine": machine(),
            "by_length": by_length(local, lengths),
            "memory_by_length": memory_by_length(local, lengths),
            "by_conversations": by_conversations(local, counts),
        }


def show(found: dict[str, Any]) -> None:
    """Print the exponents."""
    table = Table("work", "cost", "smallest", "largest", "exponent")
    for curve in [*found["by_length"], *found["memory_by_length"], *found["by_conversations"]]:
        for cost, (slope, error) in curve["exponents"].items():
            first, last = curve["points"][0], curve["points"][-1]
            table.add_row(
                curve["work"], cost, f"{first[cost]:,.1f}", f"{last[cost]:,.1f}", f"{slope:.2f} ± {error:.2f}"
            )
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def main() -> None:
    """Measure, print, and write JSON if asked."""
    parser = parser_of(__doc__)
    parser.add_argument("--quick", action="store_true", help="up to 1,000 messages and 100 conversations")
    parser.add_argument("--client", nargs=2, metavar=("URL", "SESSION"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        _be_client(*options.client)
        return
    found = measure(LENGTHS[:3], CONVERSATIONS[:3]) if options.quick else measure(LENGTHS, CONVERSATIONS)
    show(found)
    write(found, options.json)


if __name__ == "__main__":
    main()
