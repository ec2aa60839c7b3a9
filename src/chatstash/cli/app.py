"""The commands `serve` and `dev`."""

from __future__ import annotations

import errno
import json
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from chatstash.cli.child import StopRequest, run_child
from chatstash.local import LocalUpstash
from chatstash.local.engine import EngineError
from chatstash.version import __version__

app = typer.Typer(
    help="Chat conversations in Upstash Redis; here, a local Upstash to work and test with.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_errors = Console(stderr=True, highlight=False)
_out = Console(highlight=False, soft_wrap=True)

Port = Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes any free one.")]
Data = Annotated[Path | None, typer.Option(help="Keep the data in this directory over restarts.", file_okay=False)]
Redis = Annotated[
    str, typer.Option(metavar="URL", help="Stand in front of this Redis or Valkey instead of the embedded one.")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"chatstash {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def serve(
    port: Port = 8079,
    data: Data = None,
    redis: Redis = "",
    token: Annotated[str, typer.Option(help="Token clients must send; a random one if not given.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print url and token as one line of JSON.")] = False,
) -> None:
    """Run a local Upstash until Ctrl-C: the REST API on loopback, in front of an embedded Valkey."""
    with _signals() as stop, _running(stop, port, data, redis, token) as upstash:
        _announce(upstash, given_token=bool(token), as_json=as_json)
        while upstash.is_running and not stop.wait(0.2):
            pass
        died = not upstash.is_running
    if died:
        _fail("the local server or its engine ended by itself; what clients were answered before is not affected")


@app.command(context_settings={"allow_interspersed_args": False})
def dev(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND", help="The command and its arguments.")],
    data: Data = None,
    redis: Redis = "",
) -> None:
    """Run COMMAND with a local Upstash of its own, and stop that afterwards.

    COMMAND finds UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN set. The exit code is COMMAND's.

    Example: chatstash dev -- python app.py
    """
    with _signals() as stop, _running(stop, 0, data, redis, "") as upstash:
        try:
            code = run_child(command, upstash.environment, stop)
        except OSError as error:
            _fail(f"{shlex.join(command)} could not be started: {error.strerror}", code=127)
    raise typer.Exit(code)


@contextmanager
def _running(stop: StopRequest, port: int, data: Path | None, redis: str, token: str) -> Iterator[LocalUpstash]:
    """Start a local Upstash, or end with a message that says why not."""
    if data is not None and redis:
        _fail("give either --data or --redis: a Redis of your own keeps its own data", code=2)
    try:
        upstash = LocalUpstash(port=port, token=token, data=data, redis=redis)
        with stop.at_once():
            upstash.start()
    except (EngineError, OSError, ValueError) as error:
        _fail(_why(error, port, redis))
    try:
        yield upstash
    finally:
        upstash.stop()


def _why(error: Exception, port: int, redis: str) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"port {port} is taken: another server may be running there; choose one with --port, or --port 0"
    if isinstance(error, OSError) and redis:
        return f"the Redis given with --redis cannot be reached: {error}"
    return str(error)


def _announce(upstash: LocalUpstash, *, given_token: bool, as_json: bool) -> None:
    """Print url and token in a form a shell or a program can take; a token that was given is not repeated."""
    variables = dict(upstash.environment)
    if given_token:
        del variables["UPSTASH_REDIS_REST_TOKEN"]
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
