"""The command line without its packages: help, version, and what to install."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from chatstash.version import __version__

_COMMANDS = {
    "serve": ("local", "Run a local Upstash until Ctrl-C."),
    "dev": ("local", "Run COMMAND with a local Upstash that only it uses."),
    "doctor": ("cli", "Find damaged conversations, and repair them with --fix."),
    "migrate": ("cli,langgraph", "Import conversations into LangGraph threads."),
    "cost": ("cli", "Estimate a monthly Upstash bill."),
}
"""The extras that each command needs, and its summary."""

_HELP = """\
Usage: chatstash [OPTIONS] COMMAND [ARGS]...

  The packages of the command line are not installed.
  For doctor and cost: pip install 'chatstash[cli]'
  For migrate: pip install 'chatstash[cli,langgraph]'
  For all commands: pip install 'chatstash[local]'

Options:
  --version   Show the version.
  -h, --help  Show this message and exit.

Commands:
""" + "\n".join(f"  {name:<7} {summary}" for name, (_, summary) in _COMMANDS.items())


def how_to_install(command: str) -> str:
    """Return the shell command that installs the packages of a command."""
    extra, _ = _COMMANDS[command]
    return f"pip install 'chatstash[{extra}]'"


def main_without_packages(arguments: Sequence[str], missing: str) -> int:
    """Show the help or the version, or what to install, and return the exit code.

    Args:
        arguments: The command line, without the program's name.
        missing: A package that is not installed.
    """
    first = arguments[0] if arguments else ""
    if first == "--version":
        print(f"chatstash {__version__}")
    elif first in ("-h", "--help"):
        print(_HELP)
    elif first not in _COMMANDS:
        print(f"chatstash: no such command: {first}\n\n{_HELP}" if first else _HELP, file=sys.stderr)
        return 2
    elif {"-h", "--help"} & set(arguments[1:2]):
        print(
            f"Usage: chatstash {first} [OPTIONS]\n\n  {_COMMANDS[first][1]}\n\n  Not installed: {how_to_install(first)}"
        )
    else:
        print(f"chatstash: the package {missing} is missing: {how_to_install(first)}", file=sys.stderr)
        return 1
    return 0
