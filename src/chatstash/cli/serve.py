"""The command `serve`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import typer
from rich.markup import escape

from chatstash.cli import options
from chatstash.cli.local_server import running_server
from chatstash.cli.request_printer import request_printer
from chatstash.cli.signals import stop_signals
from chatstash.cli.terminal import errors, fail, out
from chatstash.local import LocalUpstash


def serve(
    port: options.Port = 8079,
    host: options.Host = "127.0.0.1",
    token: options.Token = None,
    read_only_token: options.ReadOnlyToken = None,
    database: options.Database = None,
    control_port: options.ControlPort = 0,
    trace: options.Trace = False,
    as_json: options.Json = False,
    data: options.Data = None,
    fsync: options.Fsync = "everysec",
    redis: options.Redis = "",
    plan: options.Plan = "payg",
    max_request_bytes: options.MaxRequestBytes = None,
    max_record_bytes: options.MaxRecordBytes = None,
    max_key_bytes: options.MaxKeyBytes = None,
    max_data_bytes: options.MaxDataBytes = None,
    max_commands: options.MaxCommands = None,
    read_regions: options.ReadRegions = 0,
    replica_lag: options.ReplicaLag = None,
    fault: options.Faults = None,
    seed: options.Seed = None,
) -> None:
    """Run a local Upstash until Ctrl-C.

    It serves Upstash's REST API in front of an embedded Valkey, or of your own Redis.
    """
    limits = {
        "max_request_bytes": max_request_bytes,
        "max_record_bytes": max_record_bytes,
        "max_key_bytes": max_key_bytes,
        "max_data_bytes": max_data_bytes,
        "max_commands": max_commands,
    }
    settings = {
        "port": port,
        "host": host,
        "token": _checked_token("--token", token),
        "read_only_token": _checked_token("--read-only-token", read_only_token),
        "databases": _databases(database or []),
        "control_port": control_port,
        "data": data,
        "fsync": fsync,
        "redis": redis,
        "plan": plan,
        "limits": {name: limit for name, limit in limits.items() if limit is not None},
        "read_regions": read_regions,
        "replica_lag": replica_lag,
        "seed": seed,
    }
    _serve(settings, fault, trace=trace, as_json=as_json)


def _serve(settings: dict[str, Any], faults: Sequence[str] | None, *, trace: bool, as_json: bool) -> None:
    printer = request_printer(errors) if trace else nullcontext()
    with stop_signals() as stop, printer as print_request, running_server(stop, faults, settings) as upstash:
        upstash.on_request(print_request)
        _announce(upstash, show_token=not settings["token"], as_json=as_json)
        while upstash.is_running and not stop.wait(0.2):
            pass
        died = not upstash.is_running
    if died:
        fail("the local server or its engine stopped unexpectedly; replies already sent are not affected")


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
