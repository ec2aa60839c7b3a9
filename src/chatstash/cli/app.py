"""The command line: its options, and the commands that can be run with what is installed."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable
from typing import Annotated, ParamSpec

import typer

from chatstash.cli.bare import how_to_install
from chatstash.cli.cost import cost
from chatstash.cli.doctor import doctor
from chatstash.version import __version__

_P = ParamSpec("_P")

app = typer.Typer(
    help="Chat conversations in Upstash Redis: a doctor for them, an estimate of what they cost, "
    "and a local Upstash to work and test with.",
    no_args_is_help=True,
    # Plain text, which reads the same at 80 columns, in a pipe and in a log.
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


def _interruptible(command: Callable[_P, None]) -> Callable[_P, None]:
    """Return a command that Ctrl-C interrupts by KeyboardInterrupt, so that it can say what it has done."""

    @functools.wraps(command)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        before = signal.getsignal(signal.SIGINT)
        if before is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            command(*args, **kwargs)
        finally:
            if before is signal.SIG_DFL:
                signal.signal(signal.SIGINT, before)

    return run


def _add_local_commands() -> None:
    """Add `serve` and `dev`, or what says why they cannot be run: the doctor needs none of their packages."""
    try:
        from chatstash.cli.serving import dev, serve  # noqa: PLC0415 - optional packages
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("chatstash"):
            raise
        for name in ("serve", "dev"):
            app.command(
                name,
                context_settings={"ignore_unknown_options": True},
                help=f"Run a local Upstash.\n\nNot installed. It needs: {how_to_install(name)}",
            )(_missing(error.name, how_to_install(name)))
        return
    app.command()(serve)
    app.command(context_settings={"allow_interspersed_args": False}, options_metavar="[OPTIONS] --")(dev)


def _missing(package: str, advice: str) -> Callable[..., None]:
    def say(arguments: Annotated[list[str] | None, typer.Argument(hidden=True)] = None) -> None:
        del arguments
        typer.echo(f"chatstash: the package {package} is missing: {advice}", err=True)
        raise typer.Exit(1)

    return say


_add_local_commands()
app.command()(_interruptible(doctor))
app.command()(cost)
