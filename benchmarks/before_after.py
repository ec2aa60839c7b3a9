"""One version of chatstash against another: `python -m benchmarks.before_after OLD [NEW] [--rounds N]`.

OLD and NEW are git revisions or directories with a source tree; NEW is this tree if not given. Each version runs in a
process of its own against one local server, in turns. Each figure is new CPU time divided by old CPU time, of the
client alone: the median over the rounds with its quartiles, and the ratio of the fastest runs. Compare a version with
itself to see the noise. Asserts nothing.
"""

from __future__ import annotations

import io
import os
import statistics
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.before_after_worker import WORKS
from benchmarks.local_server import TOKEN, server
from benchmarks.machine import machine
from benchmarks.output import parser_of, write
from benchmarks.start_up import import_ms

ROOT = Path(__file__).parent.parent
IMPORTS = {
    "import chatstash": "import chatstash",
    "import of the class": "from chatstash import UpstashRedisChatMessageHistory",
}
_WORKER = Path(__file__).with_name("before_after_worker.py")


class Version:
    """A version of chatstash, and a process that runs it.

    Args:
        tree: Its source tree.
        url: The local server's URL.
        cache: Where its compiled code goes.
    """

    def __init__(self, tree: Path, url: str, cache: str) -> None:
        self._environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "PYTHONPYCACHEPREFIX": cache,
                             "PYTHONDONTWRITEBYTECODE": ""}  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, str(_WORKER), url, TOKEN, str(tree)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self._environment,
        )  # fmt: skip

    def cpu_ms(self, work: str) -> float:
        """Return the CPU milliseconds that a piece of work or an import takes."""
        if work in IMPORTS:
            return import_ms(IMPORTS[work], self._environment)[0]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(work + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def measured(old: Version, new: Version, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Return old and new CPU milliseconds for each piece of work and round; one round more warms up."""
    found: dict[str, list[tuple[float, float]]] = {work: [] for work in [*WORKS, *IMPORTS]}
    for turn in track(range(rounds + 1), "rounds", console=Console(stderr=True)):
        for work, values in found.items():
            in_order = [old, new] if turn % 2 else [new, old]
            spent = {version: version.cpu_ms(work) for version in in_order}
            if turn:
                values.append((spent[old], spent[new]))
    return found


@contextmanager
def source_tree(name: str) -> Iterator[Path]:
    """Return the directory of that name, or a copy of that git revision."""
    if Path(name).is_dir():
        yield Path(name).resolve()
        return
    git = ["git", "archive", name, "src"]
    archive = subprocess.run(git, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    with TemporaryDirectory() as directory, tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        packed.extractall(directory, filter="data")
        yield Path(directory)


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("old")
    parser.add_argument("new", nargs="?", default=str(ROOT))
    parser.add_argument("--rounds", type=int, default=31)
    given = parser.parse_args()
    with ExitStack() as opened:
        url = opened.enter_context(server()).url
        versions = []
        for name in (given.old, given.new):
            cache = opened.enter_context(TemporaryDirectory())
            versions.append(Version(opened.enter_context(source_tree(name)), url, cache))
            opened.callback(versions[-1].close)
        found = {work: _summary(values) for work, values in measured(*versions, given.rounds).items()}
    _print(found, f"CPU of {given.new}, divided by that of {given.old}")
    write({"machine": machine(), "ratios": found}, given.json)


def _summary(values: list[tuple[float, float]]) -> dict[str, float]:
    low, median, high = statistics.quantiles([new / old for old, new in values], n=4)
    fastest_old, fastest_new = map(min, zip(*values, strict=True))
    return {"median": median, "low": low, "high": high, "fastest": fastest_new / fastest_old}


def _print(found: Mapping[str, Mapping[str, float]], title: str) -> None:
    table = Table("", "median", "quartiles", "fastest", title=title)
    for work, each in found.items():
        table.add_row(
            work, f"{each['median']:.2f}×", f"{each['low']:.2f} – {each['high']:.2f}", f"{each['fastest']:.2f}×"
        )
    Console().print(table)


if __name__ == "__main__":
    main()
