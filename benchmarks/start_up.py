"""The CPU that chatstash adds to the start of a process, in fresh processes.

A process imports langchain-core first and then measures the rest. So what langchain-core loads anyway costs nothing,
and the figure is not the difference between two processes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from tempfile import TemporaryDirectory

from benchmarks.spread import Runs, columns

BASE = "import langchain_core.chat_history, langchain_core.messages"
HISTORY = """
from chatstash import UpstashRedisChatMessageHistory
UpstashRedisChatMessageHistory("session", "http://localhost", "token")
"""
STARTED = "the class and one history, after langchain_core.chat_history"
WORK = {
    "langchain_core.chat_history": ("", BASE),
    "import chatstash": ("", "import chatstash"),
    STARTED: (BASE, HISTORY),
}


def start_up(rounds: int) -> dict[str, Runs]:
    """Return the CPU and wall milliseconds of each run of each work, in fresh processes, in turn."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in WORK}
    with TemporaryDirectory() as compiled:
        # Compiled code is cached as in production: the first round writes it.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        for turn in range(rounds + 1):
            for name, (before, statement) in WORK.items():
                spent = import_ms(statement, environment, before)
                if turn:
                    found[name].append(spent)
    return {name: columns(runs) for name, runs in found.items()}


def import_ms(statement: str, environment: dict[str, str], before: str = "") -> tuple[float, float]:
    """Return the CPU and wall milliseconds that a statement takes in a fresh process, after another statement."""
    code = (
        f"{before}\nfrom time import perf_counter, process_time; wall, cpu = perf_counter(), process_time()\n"
        f"{statement}\nprint((process_time() - cpu) * 1000, (perf_counter() - wall) * 1000)"
    )
    run = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, env=environment)
    cpu, wall = run.stdout.split()
    return float(cpu), float(wall)
