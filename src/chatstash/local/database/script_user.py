"""The ACL user that scripts run as: it reaches only the database and the commands of the token. Pure.

https://valkey.io/topics/acl/: the engine checks each command that a script calls, however it is called.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence

from chatstash.local.engine.command_table import CommandTable
from chatstash.local.engine.commands import EngineCommand, bytes_of
from chatstash.local.rest.command_rules import DENIED_TO_SCRIPTS

_WHOLE_DATABASE = ("FLUSHDB", "FLUSHALL", "KEYS", "SCAN", "DBSIZE", "RANDOMKEY")
# On a Redis with other databases, COPY could write to them and FLUSHALL would empty them.
_OTHER_DATABASES = ("FLUSHALL", "COPY")
_READERS_RUN = ("EVAL_RO", "EVALSHA_RO", "FCALL_RO", "MULTI", "EXEC")
# For the connection itself; no script can call it.
_MAY_GUARD = "+acl|setuser"
# A key pattern cannot hold white space, which ends it, and gives these characters a meaning.
_NOT_IN_PATTERNS = re.compile(rb"[\s\x00]")
_SPECIAL = re.compile(rb"([*?\[\]\\])")


class ScriptUser:
    """The ACL user of the scripts of one token. An `embedded` engine has no other databases."""

    def __init__(self, table: CommandTable, *, read_only: bool, embedded: bool) -> None:
        self.name = f"chatstash-{secrets.token_hex(8)}"
        self._secret = secrets.token_hex(16)
        self._table = table
        self._read_only = read_only
        self._embedded = embedded

    @property
    def enter(self) -> list[EngineCommand]:
        """The commands that create the user and authenticate a connection as it."""
        return [[*self._user(self.name), *self._rules(), "~*"], self._login(self.name)]

    @property
    def remove(self) -> EngineCommand:
        """The command that removes the user."""
        return ["ACL", "DELUSER", self.name]

    def guarded(self, command: EngineCommand) -> list[EngineCommand]:
        """Return commands that run a script with access to its KEYS only; the third reply is the script's."""
        name = f"{self.name}-keys"
        rules: EngineCommand = [*self._rules(), *self._denied(_WHOLE_DATABASE), *map(_pattern, _keys(command))]
        return [[*self._user(name), *rules], self._login(name), command, self._login(self.name)]

    def _user(self, name: str) -> EngineCommand:
        # A digest, so that the engine's monitor and logs do not show the password.
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
        beyond = DENIED_TO_SCRIPTS if self._embedded else (*DENIED_TO_SCRIPTS, *_OTHER_DATABASES)
        return ["+@all", *self._denied(beyond), _MAY_GUARD]

    def _denied(self, names: Sequence[str]) -> list[str]:
        # Scripts cannot call commands flagged noscript anyway, and the connection needs some of them.
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
    return b"~" + _NOT_IN_PATTERNS.sub(b"?", escaped)
