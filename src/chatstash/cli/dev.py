"""The command `dev`."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from chatstash.cli import options
from chatstash.cli.child_process import run_child
from chatstash.cli.local_server import running_server
from chatstash.cli.signals import stop_signals
from chatstash.cli.terminal import fail


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
    settings = {
        "data": data,
        "redis": redis,
        "plan": plan,
        "replica_lag": replica_lag,
        "seed": seed,
        "control_port": 0,
    }
    with stop_signals() as stop, running_server(stop, fault, settings) as upstash:
        try:
            code = run_child(command, upstash.environment, stop)
        except OSError as error:
            fail(f"cannot start {shlex.join(command)}: {error.strerror}", code=127)
    raise typer.Exit(code)
