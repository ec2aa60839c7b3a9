"""The command `serve`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import typer
from rich.markup import escape

from chatstash.cli.local_server import running_server
from chatstash.cli.options import (
    ControlPortOption,
    DatabaseOption,
    DataOption,
    FaultOption,
    Fsync,
    FsyncOption,
    HostOption,
    JsonOption,
    MaxCommandsOption,
    MaxDataOption,
    MaxKeyOption,
    MaxRecordOption,
    MaxRequestOption,
    Plan,
    PlanOption,
    PortOption,
    ReadOnlyTokenOption,
    ReadRegionsOption,
    RedisOption,
    ReplicaLagOption,
    SeedOption,
    TokenOption,
    TraceOption,
)
from chatstash.cli.request_printer import request_printer
from chatstash.cli.signals import stop_signals
from chatstash.cli.terminal import errors, fail, out
from chatstash.local import Limits, LocalUpstash, limits_of


def serve(
    port: PortOption = 8079,
    host: HostOption = "127.0.0.1",
    token: TokenOption = None,
    read_only_token: ReadOnlyTokenOption = None,
    database: DatabaseOption = None,
    control_port: ControlPortOption = 0,
    trace: TraceOption = False,
    as_json: JsonOption = False,
    data: DataOption = None,
    fsync: FsyncOption = Fsync.everysec,
    redis: RedisOption = "",
    plan: PlanOption = Plan("payg"),  # noqa: B008 - a constant
    max_request_bytes: MaxRequestOption = None,
    max_record_bytes: MaxRecordOption = None,
    max_key_bytes: MaxKeyOption = None,
    max_data_bytes: MaxDataOption = None,
    max_commands: MaxCommandsOption = None,
    read_regions: ReadRegionsOption = 0,
    replica_lag: ReplicaLagOption = None,
    fault: FaultOption = None,
    seed: SeedOption = None,
) -> None:
    """Run a local Upstash until Ctrl-C.

    It serves Upstash's REST API in front of an embedded Valkey, or of your own Redis.
    """
    _check_ports(port, control_port)
    limits = _limits(
        plan,
        max_request_bytes=max_request_bytes,
        max_record_bytes=max_record_bytes,
        max_key_bytes=max_key_bytes,
        max_data_bytes=max_data_bytes,
        max_commands=max_commands,
    )
    options = {
        "port": port,
        "host": host,
        "token": _checked_token("--token", token),
        "read_only_token": _checked_token("--read-only-token", read_only_token),
        "databases": _databases(database or []),
        "control_port": control_port,
        "data": data,
        "fsync": fsync.value,
        "redis": redis,
        "plan": limits,
        "read_regions": read_regions,
        "replica_lag": replica_lag,
        "seed": seed,
    }
    _serve(options, fault, trace=trace, as_json=as_json)


def _serve(options: dict[str, Any], faults: Sequence[str] | None, *, trace: bool, as_json: bool) -> None:
    printer = request_printer(errors) if trace else nullcontext()
    with stop_signals() as stop, printer as print_request, running_server(stop, faults, options) as upstash:
        upstash.on_request(print_request)
        _announce(upstash, show_token=not options["token"], as_json=as_json)
        while upstash.is_running and not stop.wait(0.2):
            pass
        died = not upstash.is_running
    if died:
        fail("the local server or its engine stopped unexpectedly; replies already sent are not affected")


def _check_ports(port: int, control_port: int) -> None:
    if port and port == control_port:
        fail("--port and --control-port are the same: choose two ports", code=2)


def _limits(plan: Plan, **overrides: int | None) -> Limits:
    return limits_of(plan.value, **{name: value for name, value in overrides.items() if value is not None})


def _checked_token(option: str, token: str | None) -> str:
    if token == "":
        fail(f"{option} is empty: pass a token, or omit the option", code=2)
    return token or ""


def _databases(pairs: Sequence[str]) -> dict[str, str]:
    """Split TOKEN=URL pairs. The error does not quote them: they may hold a token."""
    parts = [text.partition("=") for text in pairs]
    if not all(token and url for token, _, url in parts):
        fail("--database takes a token and a URL, such as TOKEN=redis://127.0.0.1:6379/1", code=2)
    return {token: url for token, _, url in parts}


def _announce(upstash: LocalUpstash, *, show_token: bool, as_json: bool) -> None:
    """Print the url and token in a form that a shell or a program can read."""
    variables = dict(upstash.environment)
    if not show_token:
        del variables["UPSTASH_REDIS_REST_TOKEN"]
    if upstash.is_open_to_others:
        errors.print(
            "[bold red]Warning:[/] other machines can connect, over plain HTTP; only the token keeps them out."
        )
    if as_json:
        typer.echo(json.dumps(variables))
        return
    out.print(f"[bold]A local Upstash is running at[/] {upstash.url}")
    for name, value in variables.items():
        out.print(f"  export {name}={escape(shlex.quote(value))}")
    out.print("Press Ctrl-C to stop it." if show_token else "The token is the one you passed. Press Ctrl-C to stop it.")
