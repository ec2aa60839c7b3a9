"""The scripts of conversations, and the calls that run them."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from chatstash.history.scripts.constants import CONSTANTS
from chatstash.rest.commands import Argument, Command
from chatstash.rest.scripts import Scripts

APPEND_COUNT_INDEX, COUNT_INDEX = 2, 1
"""The place of `commands` in the answer of a script that appends or reads a page, and of any other."""

SCRIPTS = Scripts(__package__, CONSTANTS)
call = SCRIPTS.call


def call_along(name: str, keys: Sequence[str], along: Sequence[Command], *arguments: Argument) -> Command:
    """Return the call of a script that runs further commands along (`include/along.lua`).

    Their keys follow the script's. They themselves are its last argument: JSON in which numbers stand for keys.
    """
    more = list(dict.fromkeys(key for command in along for key in keys_in(command)))
    places = {key: place for place, key in enumerate(more, 1)}
    words = [[command[0], *map(places.__getitem__, keys_in(command)), *map(str, _rest(command))] for command in along]
    return call(name, (*keys, *more), *arguments, orjson.dumps([len(more), *words]).decode())


def keys_in(command: Command) -> list[str]:
    """Return the keys of a command; only DEL has several."""
    return [str(word) for word in (command[1:] if command[0] == "DEL" else command[1:2])]


def _rest(command: Command) -> Command:
    return () if command[0] == "DEL" else command[2:]
