"""A child process that runs with a local Upstash: started with its variables, and told of signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from chatstash.local.environment import environment_with

_POLL_SECONDS = 0.1
_INTERRUPT_SECONDS = 3.0
_GRACE_SECONDS = 10.0


class StopRequest(threading.Event):
    """Set once this process was asked to end; remembers by which signal, and how often."""

    def __init__(self) -> None:
        super().__init__()
        self.signal_number = 0
        self.times = 0
        self._at_once = False

    @property
    def exit_code(self) -> int:
        """The exit code of a process that a signal ended."""
        return 128 + self.signal_number

    def take(self, number: int, _frame: object) -> None:
        """Handle a signal."""
        self.signal_number = number
        self.times += 1
        self.set()
        if self._at_once:
            raise SystemExit(self.exit_code)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within the block, end with SystemExit instead of waiting for somebody to look."""
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False


def run_child(command: Sequence[str], variables: Mapping[str, str], stop: StopRequest) -> int:
    """Run a command to its end and return its exit code, 128 + n where signal n ended it.

    Args:
        command: The command and its arguments.
        variables: Those of the local server. It has this process's environment besides, but for what leads to others.
        stop: Once set, the command is asked to end, and after 10 seconds made to. The first Ctrl-C at a terminal is
            the command's own affair, for the terminal sends it there as well: it may be a shell that goes on.

    Raises:
        OSError: The command cannot be started.
    """
    if stop.is_set():
        return stop.exit_code
    child = subprocess.Popen(list(command), env=environment_with(os.environ, variables))
    while not _must_end(stop) and not _ends_within(child, _POLL_SECONDS):
        pass
    if child.poll() is None:
        _end(child, stop.signal_number)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _must_end(stop: StopRequest) -> bool:
    at_terminal = stop.signal_number == signal.SIGINT and sys.stdin is not None and sys.stdin.isatty()
    return stop.times > (1 if at_terminal else 0)


def _end(child: subprocess.Popen[bytes], number: int) -> None:
    # Ctrl-C may have been sent to the child as well: it is left time to end by itself.
    if number == signal.SIGINT and _ends_within(child, _INTERRUPT_SECONDS):
        return
    child.terminate()
    if not _ends_within(child, _GRACE_SECONDS):
        child.kill()
        child.wait()


def _ends_within(child: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True
