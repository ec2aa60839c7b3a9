"""What the client spends on reads and appends: `make bench-client`, `python -m benchmarks.client --json FILE`.

CPU of this process, bytes on the wire and wall time of chatstash's class, beside langchain-community's on the same
local server, which is another process. Both take turns, and of each the median counts. The floor is what LangChain
alone takes to make the messages of dicts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, messages_from_dict, messages_to_dict
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.local_server import TOKEN, Relay, server
from chatstash import UpstashRedisChatMessageHistory

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from langchain_community.chat_message_histories import UpstashRedisChatMessageHistory as CommunityHistory

CHARACTERS = 200
PACKAGES = ("chatstash", "langchain-core", "langchain-community", "upstash-redis", "pydantic")
START_UP = {
    "chatstash": "from chatstash import UpstashRedisChatMessageHistory",
    "langchain_core.chat_history": "import langchain_core.chat_history",
}


@dataclass(frozen=True)
class Case:
    """Two ways to do the same.

    Attributes:
        name: What they do.
        aim: At most how many times the old class's CPU chatstash may take; None where there is no aim.
        bytes_aim: The same of the bytes on the wire.
        ours, theirs: Do it once.
        before: Runs before each, unmeasured.
    """

    name: str
    aim: float | None
    bytes_aim: float | None
    ours: Callable[[], object]
    theirs: Callable[[], object]
    before: Callable[[], object] = lambda: None


def messages(count: int) -> list[BaseMessage]:
    """Return the messages of a conversation: questions and answers by turns."""
    return [(AIMessage if index % 2 else HumanMessage)("x" * CHARACTERS) for index in range(count)]


def cases(port: int, count: int) -> list[Case]:
    """Return what is measured, against the server at `port`."""
    url, wanted = f"http://127.0.0.1:{port}", messages(count)
    ours_new, ours_old, ours_added = (
        UpstashRedisChatMessageHistory(name, url, TOKEN) for name in ("new", "old", "added")
    )
    theirs_new, theirs_old, theirs_added = (CommunityHistory(name, url, TOKEN) for name in ("new", "old", "added"))
    for history in (ours_new, theirs_old):
        history.clear()
        history.add_messages(wanted)
    assert ours_new.messages == ours_old.messages == theirs_new.messages == theirs_old.messages == wanted
    dicts = messages_to_dict(wanted)

    def floor() -> object:
        return messages_from_dict(dicts)

    return [
        Case("read, each its own", 0.25, 0.6, lambda: ours_new.messages, lambda: theirs_old.messages),
        Case("read what chatstash wrote", None, None, lambda: ours_new.messages, lambda: theirs_new.messages),
        Case("read what the old class wrote", 0.5, None, lambda: ours_old.messages, lambda: theirs_old.messages),
        Case("append", 0.35, None, lambda: ours_added.add_messages(wanted),
             lambda: theirs_added.add_messages(wanted), ours_added.clear),
        Case("read, beside the floor", None, None, lambda: ours_new.messages, floor),
    ]  # fmt: skip


def measure(count: int, rounds: int) -> list[dict[str, Any]]:
    """Measure every case, and return a row for each."""
    rows = []
    with server() as port:
        relay = Relay(port)
        for direct, relayed in zip(cases(port, count), cases(relay.port, count), strict=True):
            sizes = [_bytes_of(run, relayed.before, relay) for run in (relayed.ours, relayed.theirs)]
            spent: list[list[tuple[float, float]]] = [[], []]
            for _ in track(range(rounds), direct.name, console=Console(stderr=True)):
                for run, kept in zip((direct.ours, direct.theirs), spent, strict=True):
                    direct.before()
                    kept.append(_time_of(run))
            rows.append(_row(direct, spent, sizes))
    return rows


def _time_of(run: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.process_time() - cpu, time.perf_counter() - wall


def _bytes_of(run: Callable[[], object], before: Callable[[], object], relay: Relay) -> int:
    before()
    start = relay.count
    run()
    return relay.count - start


def _row(case: Case, spent: list[list[tuple[float, float]]], sizes: list[int]) -> dict[str, Any]:
    (our_cpu, our_wall), (their_cpu, their_wall) = (
        tuple(statistics.median(column) * 1000 for column in zip(*runs, strict=True)) for runs in spent
    )
    return {
        "work": case.name,
        "chatstash": {"cpu_ms": our_cpu, "wall_ms": our_wall, "bytes": sizes[0]},
        "old": {"cpu_ms": their_cpu, "wall_ms": their_wall, "bytes": sizes[1]},
        "cpu_ratio": our_cpu / their_cpu,
        "cpu_aim": case.aim,
        "bytes_ratio": sizes[0] / sizes[1] if sizes[1] else None,
        "bytes_aim": case.bytes_aim,
    }


def start_up(rounds: int) -> dict[str, Any]:
    """Return the median milliseconds that each import takes in a fresh process, and how many more chatstash's takes."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in START_UP}
    with TemporaryDirectory() as compiled:
        # Compiled code is kept, as anywhere but here: the first round writes it.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        for turn in track(range(rounds + 1), "start-up", console=Console(stderr=True)):
            for name, statement in START_UP.items():
                spent = _import_ms(statement, environment)
                if turn:
                    found[name].append(spent)
    medians = {
        name: [statistics.median(column) for column in zip(*spent, strict=True)] for name, spent in found.items()
    }
    (our_cpu, our_wall), (their_cpu, their_wall) = medians.values()
    return {"cpu_and_wall_ms": medians, "more_cpu_ms": our_cpu - their_cpu, "more_wall_ms": our_wall - their_wall,
            "aim_ms": 30}  # fmt: skip


def _import_ms(statement: str, environment: dict[str, str]) -> tuple[float, float]:
    code = (
        "from time import perf_counter, process_time; wall, cpu = perf_counter(), process_time()\n"
        f"{statement}\nprint((process_time() - cpu) * 1000, (perf_counter() - wall) * 1000)"
    )
    run = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, env=environment)
    cpu, wall = run.stdout.split()
    return float(cpu), float(wall)


def show(rows: list[dict[str, Any]], imports: dict[str, Any]) -> None:
    """Print a table."""
    table = Table("work", "CPU ms", "old class", "times", "aim", "bytes", "old class", "times", "aim")
    for row in rows:
        ours, old = row["chatstash"], row["old"]
        table.add_row(
            row["work"], f"{ours['cpu_ms']:.2f}", f"{old['cpu_ms']:.2f}", f"{row['cpu_ratio']:.3f}",
            _or_none(row["cpu_aim"]), f"{ours['bytes']:,}", f"{old['bytes']:,}", _or_none(row["bytes_ratio"]),
            _or_none(row["bytes_aim"]),
        )  # fmt: skip
    console = Console(width=None if sys.stdout.isatty() else 130)
    console.print(table)
    console.print(
        f"start-up, over that of langchain_core.chat_history: {imports['more_wall_ms']:.0f} ms, of CPU "
        f"{imports['more_cpu_ms']:.0f} ms (aim {imports['aim_ms']})"
    )


def _or_none(number: float | None) -> str:
    return "" if number is None else f"{number:.2f}"


def main() -> None:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1000, help="messages of a conversation (default 1,000)")
    parser.add_argument("--rounds", type=int, default=21, help="runs of each, of which the median counts (default 21)")
    parser.add_argument("--json", type=Path, help="write the results to this file as well")
    options = parser.parse_args()
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
    rows, imports = measure(options.messages, options.rounds), start_up(options.rounds)
    show(rows, imports)
    if options.json:
        machine = {"python": platform.python_version(), "system": platform.system(), "cores": os.cpu_count()}
        machine |= {name: version(name) for name in PACKAGES}
        found = {"machine": machine, "messages": options.messages, "results": rows, "start_up": imports}
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
