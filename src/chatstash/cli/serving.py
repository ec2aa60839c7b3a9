"""The commands that run a local Upstash: `serve` and `dev`. They need the extra `chatstash[local]`."""

from __future__ import annotations

import contextlib
import json
import shlex
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from chatstash.cli.child import StopRequest, run_child
from chatstash.cli.options import (
    DataOption,
    FaultOption,
    Fsync,
    FsyncOption,
    MaxCommandsOption,
    MaxDataOption,
    MaxKeyOption,
    MaxRecordOption,
    MaxRequestOption,
    Plan,
    PlanOption,
    RedisOption,
    ReplicaLagOption,
    SeedOption,
)
from chatstash.cli.trace import Trace
from chatstash.local import EngineError, Fault, ListenError, LocalUpstash, limits_of

_errors = Console(stderr=True, highlight=False, soft_wrap=True)
_out = Console(highlight=False, soft_wrap=True)


def serve(
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="Port to listen on; 0 takes any free one.")
    ] = 8079,
    host: Annotated[
        str,
        typer.Option(metavar="ADDRESS", help="Address to listen on. Anything but loopback lets other machines in."),
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            envvar="CHATSTASH_TOKEN", metavar="TOKEN", help="Token clients must send; a random one if not given."
        ),
    ] = None,
    read_only_token: Annotated[
        str | None,
        typer.Option(envvar="CHATSTASH_READ_ONLY_TOKEN", metavar="TOKEN", help="A second token, which may only read."),
    ] = None,
    database: Annotated[
        list[str] | None,
        typer.Option(metavar="TOKEN=URL", help="Another Redis, for this token. May be given again."),
    ] = None,
    control_port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, metavar="N", help="Loopback port for counters, log and faults; 0 for any free one."
        ),
    ] = 0,
    trace: Annotated[bool, typer.Option("--trace", help="Print each request as it is answered.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the variables as one line of JSON.")] = False,
    data: DataOption = None,
    fsync: FsyncOption = Fsync.everysec,
    redis: RedisOption = "",
    plan: PlanOption = Plan("payg"),  # noqa: B008 - a constant
    max_request_bytes: MaxRequestOption = None,
    max_record_bytes: MaxRecordOption = None,
    max_key_bytes: MaxKeyOption = None,
    max_data_bytes: MaxDataOption = None,
    max_commands: MaxCommandsOption = None,
    read_regions: Annotated[
        int, typer.Option(min=0, metavar="N", help="Read regions, for which each write is billed once more.")
    ] = 0,
    replica_lag: ReplicaLagOption = None,
    fault: FaultOption = None,
    seed: SeedOption = None,
) -> None:
    """Run a local Upstash until Ctrl-C.

    It is Upstash's REST API, in front of an embedded Valkey or of a Redis of yours.
    """
    if port and port == control_port:
        _fail("--port and --control-port are the same: give each a port of its own", code=2)
    overrides = {
        "max_request_bytes": max_request_bytes,
        "max_record_bytes": max_record_bytes,
        "max_key_bytes": max_key_bytes,
        "max_data_bytes": max_data_bytes,
        "max_commands": max_commands,
    }
    options = {
        "port": port,
        "host": host,
        "token": _token("--token", token),
        "read_only_token": _token("--read-only-token", read_only_token),
        "databases": _databases(database or []),
        "control_port": control_port,
        "data": data,
        "fsync": fsync.value,
        "redis": redis,
        "plan": limits_of(plan.value, **{name: value for name, value in overrides.items() if value is not None}),
        "read_regions": read_regions,
        "replica_lag": _seconds(replica_lag),
        "seed": seed,
    }
    with _signals() as stop, _tracing(trace) as shown, _running(stop, options, fault or []) as upstash:
        upstash.on_request(None if shown is None else shown.show)
        _announce(upstash, given_token=bool(token), as_json=as_json)
        while upstash.is_running and not stop.wait(0.2):
            pass
        died = not upstash.is_running
    if died:
        _fail("the local server or its engine ended by itself; what clients were answered before is not affected")


def dev(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND", help="The command and its arguments.")],
    data: DataOption = None,
    redis: RedisOption = "",
    plan: PlanOption = Plan("payg"),  # noqa: B008 - a constant
    replica_lag: ReplicaLagOption = None,
    fault: FaultOption = None,
    seed: SeedOption = None,
) -> None:
    """Run COMMAND with a local Upstash of its own.

    COMMAND finds UPSTASH_REDIS_REST_URL, UPSTASH_REDIS_REST_TOKEN, KV_REST_API_URL, KV_REST_API_TOKEN and
    CHATSTASH_CONTROL_URL set. Variables that lead to another database (REDIS_URL, KV_URL, ...) are not passed on. The
    exit code is COMMAND's.

    Example: chatstash dev -- python app.py
    """
    options = {
        "data": data,
        "redis": redis,
        "plan": plan.value,
        "replica_lag": _seconds(replica_lag),
        "seed": seed,
        "control_port": 0,
    }
    with _signals() as stop, _running(stop, options, fault or []) as upstash:
        try:
            code = run_child(command, upstash.environment, stop)
        except OSError as error:
            _fail(f"{shlex.join(command)} could not be started: {error.strerror}", code=127)
    raise typer.Exit(code)


@contextmanager
def _running(stop: StopRequest, options: dict[str, Any], faults: Sequence[str]) -> Iterator[LocalUpstash]:
    """Start a local Upstash, or end with a message that says why not."""
    _check_together(options)
    try:
        upstash = LocalUpstash(**options)
        for text in faults:
            upstash.faults.add(Fault.parse(text))
        _open_more_files()
        with stop.at_once():
            upstash.start()
    except (EngineError, ListenError, ValueError) as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"a Redis that was given cannot be reached: {error}" if _has_redis(options) else str(error))
    try:
        yield upstash
    finally:
        upstash.stop()


@contextmanager
def _tracing(wanted: bool) -> Iterator[Trace | None]:
    """Print requests on standard error where that is wanted, to the last one before the server ended."""
    trace = Trace(_errors) if wanted else None
    try:
        yield trace
    finally:
        if trace is not None:
            trace.close()


def _check_together(options: dict[str, Any]) -> None:
    """Refuse options that contradict each other."""
    if options["data"] is not None and options["redis"]:
        _fail("give either --data or --redis: a Redis of your own keeps its own data", code=2)
    if options["replica_lag"] is not None and options["redis"]:
        _fail("give either --replica-lag or --redis: a replica needs the embedded Valkey", code=2)
    if options.get("fsync") == "always" and options["data"] is None:
        _fail("--fsync always needs --data, a directory to keep the data in", code=2)


def _has_redis(options: dict[str, Any]) -> bool:
    return bool(options["redis"] or options.get("databases"))


def _token(name: str, given: str | None) -> str:
    """Return a token, empty where none was given; refuses one that is, and is empty."""
    if given == "":
        _fail(f"{name} is empty: give a token, or leave the option out", code=2)
    return given or ""


def _databases(given: Sequence[str]) -> dict[str, str]:
    """Split TOKEN=URL; never quotes what it could not split, which may be a token."""
    pairs = [text.partition("=") for text in given]
    if not all(token and url for token, _, url in pairs):
        _fail("--database takes a token and a URL: TOKEN=redis://127.0.0.1:6379/1", code=2)
    return {token: url for token, _, url in pairs}


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _open_more_files() -> None:
    """Let a server of its own hold as many connections as the system permits, not only 1024."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415 - not on Windows

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _announce(upstash: LocalUpstash, *, given_token: bool, as_json: bool) -> None:
    """Print url and token in a form a shell or a program can take; a token that was given is not repeated."""
    variables = dict(upstash.environment)
    if given_token:
        del variables["UPSTASH_REDIS_REST_TOKEN"]
    if upstash.is_open_to_others:
        _errors.print(
            "[bold red]Warning:[/] other machines can reach it, in plain HTTP; the token alone keeps them out."
        )
    if as_json:
        typer.echo(json.dumps(variables))
        return
    _out.print(f"[bold]A local Upstash is running at[/] {upstash.url}")
    for name, value in variables.items():
        _out.print(f"  export {name}={escape(shlex.quote(value))}")
    _out.print("  (the token is the one you gave)\n" if given_token else "", end="")
    _out.print("Press Ctrl-C to stop it.")


@contextmanager
def _signals() -> Iterator[StopRequest]:
    """Turn Ctrl-C, SIGTERM and SIGHUP into an event, so that what was started is stopped in order."""
    stop = StopRequest()
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    caught = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.signal(number, stop.take) for number in caught}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _fail(reason: str, code: int = 1) -> NoReturn:
    _errors.print(f"[red]chatstash:[/] {escape(reason)}")
    raise typer.Exit(code)
