"""The CPU that chatstash adds to the start of a process, in fresh processes.

A process imports langchain-core first and then measures the rest. So what langchain-core loads anyway costs nothing,
and the figure is not the difference between two processes.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from tempfile import TemporaryDirectory
from typing import Any

BASE = "import langchain_core.chat_history, langchain_core.messages"
HISTORY = """
from chatstash import UpstashRedisChatMessageHistory
UpstashRedisChatMessageHistory("session", "http://localhost", "token")
"""
WORK = {
    "langchain_core.chat_history": ("", BASE),
    "import chatstash": ("", "import chatstash"),
    "the class and one history, after langchain_core.chat_history": (BASE, HISTORY),
}


def start_up(rounds: int) -> dict[str, Any]:
    """Return the median CPU and wall milliseconds of each work in a fresh process, in turn."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in WORK}
    with TemporaryDirectory() as compiled:
        # Compiled code is cached as in production: the first round writes it.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        for turn in range(rounds + 1):
            for name, (before, statement) in WORK.items():
                spent = import_ms(statement, environment, before)
                if turn:
                    found[name].append(spent)
    medians = {name: [statistics.median(column) for column in zip(*runs, strict=True)] for name, runs in found.items()}
    more_cpu, more_wall = list(medians.values())[-1]
    return {"cpu_and_wall_ms": medians, "more_cpu_ms": more_cpu, "more_wall_ms": more_wall}


def import_ms(statement: str, environment: dict[str, str], before: str = "") -> tuple[float, float]:
    """Return the CPU and wall milliseconds that a statement takes in a fresh process, after another statement."""
    code = (
        f"{before}\nfrom time import perf_counter, process_time; wall, cpu = perf_counter(), process_time()\n"
        f"{statement}\nprint((process_time() - cpu) * 1000, (perf_counter() - wall) * 1000)"
    )
    run = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, env=environment)
    cpu, wall = run.stdout.split()
    return float(cpu), float(wall)
