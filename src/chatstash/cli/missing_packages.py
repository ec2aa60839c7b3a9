"""The command line without its packages: version, and what to install."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from chatstash.version import __version__

_EXTRAS = {"serve": "local", "dev": "local", "doctor": "cli", "cost": "cli"}
"""The extra that each command needs."""

_HELP = """\
Usage: chatstash [OPTIONS] COMMAND [ARGS]...

  The packages of the command line are not installed.
  For doctor and cost: pip install 'chatstash[cli]'
  For serve and dev, too: pip install 'chatstash[local]'

Options:
  --version   Show the version.
  -h, --help  Show this message and exit.
"""


def how_to_install(command: str) -> str:
    """Return the shell command that installs the packages of a command."""
    return f"pip install 'chatstash[{_EXTRAS[command]}]'"


def main_without_packages(arguments: Sequence[str], missing: str) -> int:
    """Say what to install, since a package is missing, or show the help or the version; return the exit code."""
    first = arguments[0] if arguments else ""
    if first in _EXTRAS:
        print(f"chatstash: the package {missing} is missing: {how_to_install(first)}", file=sys.stderr)
        return 1
    if first == "--version":
        print(f"chatstash {__version__}")
        return 0
    wants_help = first in ("-h", "--help")
    print(_HELP, end="", file=sys.stdout if wants_help else sys.stderr)
    return 0 if wants_help else 2
