"""Loads the scripts, whole `.lua` files, and makes the calls that run them.

A line `--- @include "name"` inserts `include/name.lua`, at most once per script. The shared constants that a
script uses (`constants`) are put at its start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache

from chatstash.history.scripts.constants import locals_for
from chatstash.rest.commands import READING, Argument, Command

APPEND_COUNT_INDEX, COUNT_INDEX = 2, 1
"""The place of `commands` in the answer of a script that appends or reads a page, and of any other."""

_INCLUDE = r'--- @include "([a-z_]+)"'


@cache
def source(name: str) -> str:
    """Return a script as it is sent, given the name of its file without `.lua`."""
    return composed(text_of(f"{name}.lua"))


def composed(script: str) -> str:
    """Return a script with its includes and the constants that it names.

    Leaves out comments and indentation, which would cost bytes in each request.
    """
    flags, *lines = _lines(script, set())
    return "\n".join([flags, *locals_for("\n".join(lines)), *lines])


def _lines(text: str, included: set[str]) -> Iterator[str]:
    for line in map(str.strip, text.splitlines()):
        include = re.fullmatch(_INCLUDE, line)
        if include is None:
            if line and not line.startswith("--"):
                yield line
        elif include[1] not in included:
            included.add(include[1])
            yield from _lines(text_of(f"include/{include[1]}.lua"), included)


def text_of(path: str) -> str:
    """Return the text of one of the package's files."""
    from importlib.resources import files  # noqa: PLC0415 - four milliseconds, and many processes run no script

    return (files(__package__) / path).read_text(encoding="utf-8")


def call(name: str, keys: Sequence[str], *arguments: Argument) -> Command:
    """Return the command that runs a script: EVAL, or EVAL_RO where its flags say that it only reads."""
    script = source(name)
    return ("EVAL_RO" if script.startswith(READING) else "EVAL", script, len(keys), *keys, *arguments)
