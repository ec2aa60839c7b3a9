"""The command line, `chatstash`. Needs the extra `chatstash[cli]`; `serve` and `dev` need `chatstash[local]`."""

from __future__ import annotations

import sys

from chatstash.startup import end_silently_on_interrupt


def main() -> None:
    """Run the command line, or say what to install where its packages are missing.

    Ctrl-C ends it without a word, but for where a command has something to end in order.
    """
    end_silently_on_interrupt()
    try:
        from chatstash.cli.app import app  # noqa: PLC0415 - optional packages
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("chatstash"):
            raise
        from chatstash.cli.bare import run_bare  # noqa: PLC0415 - seldom wanted

        sys.exit(run_bare(sys.argv[1:], error.name))
    app(prog_name="chatstash")
