"""The command line, `chatstash`. Needs the extra `chatstash[cli]`; `serve` and `dev` need `chatstash[local]`."""

from __future__ import annotations

import sys

from chatstash.startup import exit_silently_on_interrupt


def main() -> None:
    """Run the command line, or say what to install if its packages are missing.

    Ctrl-C ends it silently, except where a command handles it.
    """
    exit_silently_on_interrupt()
    try:
        from chatstash.cli.app import app  # noqa: PLC0415 - optional packages
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("chatstash"):
            raise
        from chatstash.cli.missing_packages import main_without_packages  # noqa: PLC0415 - rarely needed

        sys.exit(main_without_packages(sys.argv[1:], error.name))
    app(prog_name="chatstash")
