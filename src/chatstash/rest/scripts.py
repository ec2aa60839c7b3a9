"""Loads the scripts of a package, whole `.lua` files, and makes the calls that run them.

A line `--- @include "name"` inserts `include/name.lua`, at most once per script. The constants that a script names are
put at its start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from chatstash.rest.commands import READING, Argument, Command

_INCLUDE = r'--- @include "([a-z_]+)"'


class Scripts:
    """The scripts of one package.

    Args:
        package: The package whose folder holds the `.lua` files.
        constants: The constants that Python and the scripts share, by name: capitals, at least four.
    """

    def __init__(self, package: str, constants: Mapping[str, object]) -> None:
        self._package = package
        self._constants = constants
        self.source = cache(self._source)

    def call(self, name: str, keys: Sequence[str], *arguments: Argument) -> Command:
        """Return the command that runs a script: EVAL, or EVAL_RO where its flags say that it only reads."""
        script = self.source(name)
        return ("EVAL_RO" if script.startswith(READING) else "EVAL", script, len(keys), *keys, *arguments)

    def _source(self, name: str) -> str:
        """Return a script as it is sent, given the name of its file without `.lua`."""
        return self.composed(self.text_of(f"{name}.lua"))

    def composed(self, script: str) -> str:
        """Return a script with its includes and the constants that it names.

        Leaves out comments and indentation, which would cost bytes in each request.
        """
        flags, *lines = self._lines(script, set())
        return "\n".join([flags, *self._locals_for("\n".join(lines)), *lines])

    def text_of(self, path: str) -> str:
        """Return the text of one of the package's files."""
        from importlib.resources import files  # noqa: PLC0415 - four milliseconds, and many processes run no script

        return (files(self._package) / path).read_text(encoding="utf-8")

    def _lines(self, text: str, included: set[str]) -> Iterator[str]:
        for line in map(str.strip, text.splitlines()):
            include = re.fullmatch(_INCLUDE, line)
            if include is None:
                if line and not line.startswith("--"):
                    yield line
            elif include[1] not in included:
                included.add(include[1])
                yield from self._lines(self.text_of(f"include/{include[1]}.lua"), included)

    def _locals_for(self, script: str) -> list[str]:
        """Return the lines of Lua that define the constants which a script names."""
        named = set(re.findall(r"\b[A-Z_]{4,}\b", script)) & self._constants.keys()
        return [f"local {name} = {_lua(value)}" for name, value in self._constants.items() if name in named]


def _lua(value: object) -> str:
    """Return a value in Lua; a frozenset is a table that has `true` at each member."""
    match value:
        case Mapping():
            return "{" + ",".join(f"[{name!r}]={_lua(entry)}" for name, entry in value.items()) + "}"
        case frozenset():
            return _lua(dict.fromkeys(sorted(value), True))
        case tuple():
            return "{" + ",".join(map(_lua, value)) + "}"
        case bool():
            return str(value).lower()
        case _:
            return repr(value)
