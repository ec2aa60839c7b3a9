"""What all commands share: consoles, errors, text that is safe to print, and how options are declared.

Keys, reasons and errors may hold text that others stored. They are printed as plain text, without control characters.
"""

from __future__ import annotations

from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.text import Text

out = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def printable(text: str) -> str:
    """Replace control characters, which a terminal would obey."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def print_error(message: str, source: str = "chatstash", style: str = "red") -> None:
    """Print one line on standard error, after the source of the error."""
    errors.print(Text.assemble((f"{printable(source)}: ", style), printable(message)))


def fail(message: str, code: int = 1) -> NoReturn:
    """Print an error and exit."""
    print_error(message)
    raise typer.Exit(code)


def option(usage: str, help: str, **more: Any) -> Any:
    """Return a typer option, given its usage such as `--port N`."""
    name, _, metavar = usage.partition(" ")
    return typer.Option(name, metavar=metavar or None, help=help, **more)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, such as `1 record` or `1,000 records`."""
    return f"{number:,} {noun_for(number, noun)}"


def noun_for(number: int, noun: str) -> str:
    """Return the noun that follows a number."""
    return noun if number == 1 else f"{noun}s"
