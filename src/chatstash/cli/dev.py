"""The command `dev`: runs a child process with the local server's variables, and stops it on a signal."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from chatstash.cli import options
from chatstash.cli.local_server import running_server
from chatstash.cli.signals import StopRequest, stop_signals
from chatstash.cli.terminal import fail
from chatstash.local.environment import environment_with

_POLL_SECONDS = 0.1
_INTERRUPT_SECONDS = 3.0
_GRACE_SECONDS = 10.0


def dev(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND", hidden=True)],
    data: options.Data = None,
    redis: options.Redis = "",
    plan: options.Plan = "payg",
    replica_lag: options.ReplicaLag = None,
    fault: options.Faults = None,
    seed: options.Seed = None,
) -> None:
    """Run COMMAND with a local Upstash that only it uses.

    COMMAND finds the server in UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN, in KV_REST_API_URL and
    KV_REST_API_TOKEN, and in CHATSTASH_CONTROL_URL. Variables that lead to another database (REDIS_URL, KV_URL, ...)
    are removed. The exit code is COMMAND's.

    Example: chatstash dev -- python app.py
    """
    settings = {"data": data, "redis": redis, "plan": plan, "replica_lag": replica_lag, "seed": seed, "control_port": 0}
    with stop_signals() as stop, running_server(stop, fault, settings) as upstash:
        try:
            code = _run_child(command, upstash.environment, stop)
        except OSError as error:
            fail(f"cannot start {shlex.join(command)}: {error.strerror}", code=127)
    raise typer.Exit(code)


def _run_child(command: Sequence[str], variables: Mapping[str, str], stop: StopRequest) -> int:
    """Run a command to its end and return its exit code, or 128 + n if signal n ended it.

    It gets this process's environment with the variables, without those that lead to another database. Once `stop` is
    set, it gets SIGTERM, and SIGKILL 10 seconds later. The first Ctrl-C at a terminal is left to the command, which
    receives it as well: it may be a shell.
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
