"""The command line application: its commands, or what to install for those whose packages are missing."""

from __future__ import annotations

from typing import Annotated

import typer

from chatstash.cli.cost import cost
from chatstash.cli.doctor.command import doctor
from chatstash.cli.migrate.command import migrate
from chatstash.cli.missing_packages import how_to_install
from chatstash.cli.reindex import reindex
from chatstash.cli.terminal import fail
from chatstash.version import __version__

app = typer.Typer(
    help="Tools for chat conversations in Upstash Redis: find and repair damage, move them into "
    "LangGraph threads, list them by session, estimate the bill, and run a local Upstash for development and tests.",
    no_args_is_help=True,
    # Plain text reads the same in a terminal, a pipe and a log.
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
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
    """Add `serve` and `dev`, or placeholders if their packages are missing: the other commands do not need them."""
    try:
        from chatstash.cli.dev import dev  # noqa: PLC0415 - optional packages
        from chatstash.cli.serve import serve  # noqa: PLC0415 - optional packages
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("chatstash"):
            raise
        for name in ("serve", "dev"):
            _add_placeholder(name, error.name)
        return
    app.command()(serve)
    app.command(context_settings={"allow_interspersed_args": False}, options_metavar="[OPTIONS] --")(dev)


def _add_placeholder(name: str, package: str) -> None:
    advice = how_to_install(name)

    @app.command(
        name,
        context_settings={"ignore_unknown_options": True},
        help=f"Run a local Upstash.\n\nNot installed. It needs: {advice}",
    )
    def placeholder(arguments: Annotated[list[str] | None, typer.Argument(hidden=True)] = None) -> None:
        del arguments
        fail(f"the package {package} is missing: {advice}")


_add_local_commands()
app.command()(doctor)
app.command()(migrate)
app.command()(reindex)
app.command()(cost)
