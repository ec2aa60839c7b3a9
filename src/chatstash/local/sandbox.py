"""The engine's access rules under which scripts run: they reach their own database, and what their token may do. Pure.

https://valkey.io/topics/acl/: the engine checks each command that a script calls, however it is called.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence

from chatstash.local.command_table import CommandTable
from chatstash.local.commands import EngineCommand, bytes_of
from chatstash.local.refusals import BEYOND_A_SCRIPT

_WHOLE_DATABASE = ("FLUSHDB", "FLUSHALL", "KEYS", "SCAN", "DBSIZE", "RANDOMKEY")
# What a Redis of the user's might hold besides: other databases, which COPY can write to and FLUSHALL empties.
_OTHER_DATABASES = ("FLUSHALL", "COPY")
_READERS_RUN = ("EVAL_RO", "EVALSHA_RO", "FCALL_RO", "MULTI", "EXEC")
# For the connection between scripts; no script can call it.
_MAY_GUARD = "+acl|setuser"
# What the pattern of a key cannot hold: a blank ends it, and these mean something of their own.
_UNSPEAKABLE = re.compile(rb"[\s\x00]")
_SPECIAL = re.compile(rb"([*?\[\]\\])")


class Sandbox:
    """The user of the engine that the scripts of a token run as.

    Args:
        table: What the engine says of its commands.
        read_only: Whether the token may only read.
        is_ours: Whether the engine serves nobody else.
    """

    def __init__(self, table: CommandTable, *, read_only: bool, is_ours: bool) -> None:
        self.name = f"chatstash-{secrets.token_hex(8)}"
        self._secret = secrets.token_hex(16)
        self._table = table
        self._read_only = read_only
        self._is_ours = is_ours

    @property
    def enter(self) -> list[EngineCommand]:
        """The commands after which a connection is the sandbox's: make the user, and be it."""
        return [[*self._user(self.name), *self._rules(), "~*"], self._login(self.name)]

    @property
    def remove(self) -> EngineCommand:
        """The command that removes the user."""
        return ["ACL", "DELUSER", self.name]

    def guarded(self, command: EngineCommand) -> list[EngineCommand]:
        """Return commands that run a script with no access but to its KEYS: the third one's reply is the script's."""
        name = f"{self.name}-keys"
        rules: EngineCommand = [*self._rules(), *self._denied(_WHOLE_DATABASE), *map(_pattern, _keys(command))]
        return [[*self._user(name), *rules], self._login(name), command, self._login(self.name)]

    def _user(self, name: str) -> EngineCommand:
        # A digest, so that no monitor or log of the engine shows what opens it.
        digest = hashlib.sha256(self._secret.encode()).hexdigest()
        return ["ACL", "SETUSER", name, "reset", "on", f"#{digest}", "allchannels"]

    def _login(self, name: str) -> EngineCommand:
        return ["AUTH", name, self._secret]

    def _rules(self) -> list[str]:
        flags = self._table.flags
        if self._read_only:
            readers = [name for name in flags if self._table.is_for_readers(name.split())]
            allowed = [*readers, *filter(flags.__contains__, _READERS_RUN)]
            return ["-@all", *(f"+{name.lower().replace(' ', '|')}" for name in allowed), _MAY_GUARD]
        beyond = BEYOND_A_SCRIPT if self._is_ours else (*BEYOND_A_SCRIPT, *_OTHER_DATABASES)
        return ["+@all", *self._denied(beyond), _MAY_GUARD]

    def _denied(self, names: Sequence[str]) -> list[str]:
        # No script can call those with noscript; a connection needs some of them.
        flags = self._table.flags
        return [f"-{name.lower()}" for name in names if "noscript" not in flags.get(name, {"noscript"})]


def _keys(command: EngineCommand) -> Sequence[str | bytes]:
    try:
        count = int(command[2])
    except (IndexError, ValueError):
        return []
    return command[3 : 3 + max(count, 0)]


def _pattern(key: str | bytes) -> bytes:
    escaped = _SPECIAL.sub(rb"\\\1", bytes_of(key))
    return b"~" + _UNSPEAKABLE.sub(b"?", escaped)
