"""The command line where its packages are not installed: the help, the version, and what to install."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

from chatstash.version import __version__

_EXIT_FAILED = 1
_EXIT_USAGE = 2


class _Command(NamedTuple):
    extra: str
    summary: str


_COMMANDS = {
    "serve": _Command("local", "Run a local Upstash until Ctrl-C."),
    "dev": _Command("local", "Run a command with a local Upstash of its own."),
    "doctor": _Command("cli", "Find damaged conversations, and with --fix repair them."),
    "cost": _Command("cli", "Estimate a monthly bill of Upstash."),
}


def how_to_install(command: str) -> str:
    """Return the shell command that installs what a command of chatstash needs."""
    return f"pip install 'chatstash[{_COMMANDS[command].extra}]'"


def run_bare(arguments: Sequence[str], missing: str) -> int:
    """Answer a command line as far as that needs no packages, and return the exit code.

    Args:
        arguments: The arguments, without the program's name.
        missing: The name of the package that is missing.
    """
    first = arguments[0] if arguments else ""
    if first == "--version":
        print(f"chatstash {__version__}")
        return 0
    if first in ("-h", "--help"):
        print(_help())
        return 0
    if first not in _COMMANDS:
        print(_help() if not first else f"chatstash: there is no command {first!r}\n\n{_help()}", file=sys.stderr)
        return _EXIT_USAGE
    if {"-h", "--help"} & set(arguments[1:2]):
        print(_help_of(first))
        return 0
    print(f"chatstash: the package {missing} is missing: {how_to_install(first)}", file=sys.stderr)
    return _EXIT_FAILED


def _help() -> str:
    return "\n".join(
        [
            "Usage: chatstash [OPTIONS] COMMAND [ARGS]...",
            "",
            "  The packages of the command line are not installed.",
            f"  For doctor and cost: {how_to_install('doctor')}",
            f"  For all commands: {how_to_install('serve')}",
            "",
            "Options:",
            "  --version   Show the version.",
            "  -h, --help  Show this message and exit.",
            "",
            "Commands:",
            *(f"  {name:<7} {command.summary}" for name, command in _COMMANDS.items()),
        ]
    )


def _help_of(name: str) -> str:
    return (
        f"Usage: chatstash {name} [OPTIONS]\n\n  {_COMMANDS[name].summary}\n\n"
        f"  Its packages are not installed, nor its help: {how_to_install(name)}"
    )
