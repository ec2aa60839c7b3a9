"""Ctrl-C at every stage of the command line, from its first import to its last word: no traceback, nothing left behind.

Where the process is, is told by what it prints: the modules it imports (`-X importtime`), then its own lines.
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

from tests.local.test_cli import ENVIRONMENT
from tests.local.test_server import gone

_IMPORT = re.compile(r"^import time:.*\n", re.MULTILINE)
_PYTHON = [sys.executable, "-X", "importtime", "-u", "-m", "chatstash"]
_SCRIPT = [sys.executable, "-X", "importtime", "-u", str(Path(sys.executable).with_name("chatstash"))]


def imports_of(*command: str) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    return [line.rsplit("|", 1)[1].strip() for line in _IMPORT.findall(done.stderr)]


@contextmanager
def started(command: list[str], terminal: bool) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start the command in a pipe, or with a terminal of its own for input and output."""
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
    """Send Ctrl-C after so many lines of progress; the exit code, and what was said besides."""
    with started(command, terminal) as (process, _):
        assert process.stderr is not None
        said = [process.stderr.readline() for _ in range(progress)]
        process.send_signal(signal.SIGINT)
        said.append(process.stderr.read())
        code = process.wait(30)
    return code, _IMPORT.sub("", "".join(said))


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
@pytest.mark.parametrize("start", [_PYTHON, _SCRIPT], ids=["module", "script"])
def test_while_packages_are_imported(start: list[str], terminal: bool) -> None:
    modules = imports_of(*start, "--version")
    # From where the first module of the package was imported: before that, the process is Python's alone.
    first = modules.index("chatstash.startup") + 1
    for progress in [first, first + 1, first + 2, *range(first + 10, len(modules) - 1, (len(modules) - first) // 8)]:
        code, said = interrupted_after([*start, "--version"], progress, terminal)
        assert (code in (-signal.SIGINT, 130, 0), said) == (True, ""), (progress, modules[progress - 1])


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
@pytest.mark.parametrize("command", [["serve", "--port", "0", "--json"], ["dev", "--", "sleep", "1000"]])
def test_while_it_starts(tmp_path: Path, command: list[str], terminal: bool) -> None:
    whole = [*_PYTHON, command[0], "--data", str(tmp_path), *command[1:]]
    with started(whole, terminal) as (process, _):
        assert process.stderr is not None
        modules = 0
        # The engine is started in the midst of the last ones.
        while "chatstash.cli.serving" not in (line := process.stderr.readline()):
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
@pytest.mark.parametrize("times", [1, 2, 5])
def test_while_it_runs_and_ends(tmp_path: Path, number: signal.Signals, times: int) -> None:
    command = [sys.executable, "-m", "chatstash", "serve", "--port", "0", "--json", "--data", str(tmp_path)]
    with started(command, terminal=False) as (process, _):
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        for _ in range(times):
            process.send_signal(number)
        said = process.stderr.read()
        assert process.wait(30) in (0, -number, 128 + number)
    assert said == ""
    assert gone(tmp_path)
