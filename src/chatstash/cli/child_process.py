"""The child process of `dev`: started with the local server's variables, and stopped on a signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from chatstash.cli.signals import StopRequest
from chatstash.local.environment import environment_with

_POLL_SECONDS = 0.1
_INTERRUPT_SECONDS = 3.0
_GRACE_SECONDS = 10.0


def run_child(command: Sequence[str], variables: Mapping[str, str], stop: StopRequest) -> int:
    """Run a command to its end and return its exit code, or 128 + n if signal n ended it.

    Args:
        command: The command and its arguments.
        variables: The local server's environment variables. They are added to this process's environment, without
            the variables that lead to another database.
        stop: Once set, the command gets SIGTERM, and SIGKILL 10 seconds later. The first Ctrl-C at a terminal is left
            to the command, which receives it as well: it may be a shell.

    Raises:
        OSError: The command cannot be started.
    """
    if stop.is_set():
        return stop.exit_code
    child = subprocess.Popen(list(command), env=environment_with(os.environ, variables))
    while not _must_stop(stop) and not _exits_within(child, _POLL_SECONDS):
        pass
    if child.poll() is None:
        _stop(child, stop.signal_number)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _must_stop(stop: StopRequest) -> bool:
    at_terminal = stop.signal_number == signal.SIGINT and sys.stdin is not None and sys.stdin.isatty()
    return stop.count > (1 if at_terminal else 0)


def _stop(child: subprocess.Popen[bytes], signal_number: int) -> None:
    # A terminal sends Ctrl-C to the child as well, which then exits by itself.
    if signal_number == signal.SIGINT and _exits_within(child, _INTERRUPT_SECONDS):
        return
    child.terminate()
    if not _exits_within(child, _GRACE_SECONDS):
        child.kill()
        child.wait()


def _exits_within(child: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True
