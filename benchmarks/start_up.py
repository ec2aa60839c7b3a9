"""The time that importing takes, in fresh processes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from tempfile import TemporaryDirectory
from typing import Any

STATEMENTS = {
    "chatstash": "from chatstash import UpstashRedisChatMessageHistory",
    "langchain_core.chat_history": "import langchain_core.chat_history",
}


def start_up(rounds: int) -> dict[str, Any]:
    """Return the median milliseconds of each import in a fresh process, and how many more chatstash's takes."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in STATEMENTS}
    with TemporaryDirectory() as compiled:
        # Compiled code is cached as in production: the first round writes it.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        for turn in range(rounds + 1):
            for name, statement in STATEMENTS.items():
                spent = import_ms(statement, environment)
                if turn:
                    found[name].append(spent)
    medians = {name: [statistics.median(column) for column in zip(*runs, strict=True)] for name, runs in found.items()}
    (our_cpu, our_wall), (their_cpu, their_wall) = medians.values()
    return {"cpu_and_wall_ms": medians, "more_cpu_ms": our_cpu - their_cpu, "more_wall_ms": our_wall - their_wall}


def import_ms(statement: str, environment: dict[str, str]) -> tuple[float, float]:
    """Return the CPU and wall milliseconds that a statement takes in a fresh process."""
    code = (
        "from time import perf_counter, process_time; wall, cpu = perf_counter(), process_time()\n"
        f"{statement}\nprint((process_time() - cpu) * 1000, (perf_counter() - wall) * 1000)"
    )
    run = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, env=environment)
    cpu, wall = run.stdout.split()
    return float(cpu), float(wall)
