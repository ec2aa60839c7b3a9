"""Ctrl-C at every stage of the command line, from its first import on: no traceback, and no process left behind.

The process reports its progress: the modules that it imports (`-X importtime`), then its own output.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.support import ENVIRONMENT
from tests.local.test_server import gone

_IMPORT = re.compile(r"^import time:.*\n", re.MULTILINE)
_PYTHON = [sys.executable, "-X", "importtime", "-u", "-m", "chatstash"]
_SCRIPT = [sys.executable, "-X", "importtime", "-u", str(Path(sys.executable).with_name("chatstash"))]


def imports_of(*command: str) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    return [line.rsplit("|", 1)[1].strip() for line in _IMPORT.findall(done.stderr)]


@contextmanager
def started(command: list[str], terminal: bool) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start the command with pipes, or with a terminal for input and output."""
    if not terminal:
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=ENVIRONMENT, start_new_session=True,
        ) as process:  # fmt: skip
            yield process, -1
        return
    ours, theirs = os.openpty()
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
        start_new_session=True,
    ) as process:  # fmt: skip
        os.close(theirs)
        yield process, ours
        os.close(ours)


def interrupted_after(command: list[str], progress: int, terminal: bool = False) -> tuple[int, str]:
    """Send Ctrl-C after some lines of progress; return the exit code and the other lines."""
    with started(command, terminal) as (process, _):
        assert process.stderr is not None
        said = [process.stderr.readline() for _ in range(progress)]
        process.send_signal(signal.SIGINT)
        said.append(process.stderr.read())
        code = process.wait(60)
    return code, _IMPORT.sub("", "".join(said))


@pytest.mark.parametrize("start", [_PYTHON, _SCRIPT], ids=["module", "script"])
def test_while_packages_are_imported(start: list[str]) -> None:
    modules = imports_of(*start, "--version")
    # From where the first module of the package was imported: before that, the process is Python's alone.
    first = modules.index("chatstash.startup") + 1
    for progress in [first, first + 1, first + 2, *range(first + 10, len(modules) - 1, (len(modules) - first) // 8)]:
        code, said = interrupted_after([*start, "--version"], progress)
        assert (code in (-signal.SIGINT, 130, 0), said) == (True, ""), (progress, modules[progress - 1])


@pytest.mark.parametrize(
    ("command", "terminal"), [(["serve", "--port", "0", "--json"], False), (["dev", "--", "sleep", "1000"], True)]
)
def test_while_it_starts(tmp_path: Path, command: list[str], terminal: bool) -> None:
    whole = [*_PYTHON, command[0], "--data", str(tmp_path), *command[1:]]
    with started(whole, terminal) as (process, _):
        assert process.stderr is not None
        modules = 0
        # The engine starts while the last modules are imported.
        while "chatstash.cli.serve" not in (line := process.stderr.readline()):
            modules += 1
            assert line
        process.send_signal(signal.SIGKILL)
    assert gone(tmp_path)
    for more in range(2, 10):
        code, said = interrupted_after(whole, modules + more, terminal)
        assert "Traceback" not in said, more
        assert "Exception" not in said, more
        assert code in (-signal.SIGINT, 130, 0), more
        assert gone(tmp_path), more


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_several_signals_while_it_runs_and_ends(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "chatstash", "serve", "--port", "0", "--json", "--data", str(tmp_path)]
    with started(command, terminal=False) as (process, _):
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        for _ in range(5):
            process.send_signal(number)
        said = process.stderr.read()
        assert process.wait(60) in (0, -number, 128 + number)
    assert said == ""
    assert gone(tmp_path)
