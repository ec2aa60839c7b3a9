"""The command line: its options, and the commands that can be run with what is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from chatstash.cli.cost import cost
from chatstash.cli.doctor import doctor
from chatstash.version import __version__

app = typer.Typer(
    help="Chat conversations in Upstash Redis: a doctor for them, an estimate of what they cost, "
    "and a local Upstash to work and test with.",
    no_args_is_help=True,
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


def _add_local_commands() -> None:
    """Add `serve` and `dev`, or what says why they cannot be run: the doctor needs none of their packages."""
    try:
        from chatstash.cli.serving import dev, serve  # noqa: PLC0415 - optional packages
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("chatstash"):
            raise
        for name in ("serve", "dev"):
            app.command(name, context_settings={"ignore_unknown_options": True})(_missing(error.name))
        return
    app.command()(serve)
    app.command(context_settings={"allow_interspersed_args": False})(dev)


def _missing(package: str) -> Callable[..., None]:
    def say(arguments: Annotated[list[str] | None, typer.Argument(hidden=True)] = None) -> None:
        """Run a local Upstash. Its packages are not installed: run it to see how."""
        del arguments
        typer.echo(f"chatstash: the package {package} is missing: pip install 'chatstash[local]'", err=True)
        raise typer.Exit(1)

    return say


_add_local_commands()
app.command()(doctor)
app.command()(cost)
