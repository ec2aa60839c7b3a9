"""Upstash's script flag `allow-key-locking`, removed before a script reaches the engine, which does not know it. Pure.

https://upstash.com/docs/redis/features/key-locking: a script with the flag locks only its KEYS. It may touch no other
key and call no command that needs the whole database. A script sets the flag in its first line, a function where it is
registered. Clients compute the SHA1 of a script with the flag; it is mapped to the engine's SHA1 of the text without.
"""

from __future__ import annotations

import hashlib
import re

import hiredis

from chatstash.local.engine.commands import EngineCommand, EngineReply, bytes_of, name_of, text_of

_SHEBANG = re.compile(rb"\A#!lua([^\n]*)")
_FLAG = b"allow-key-locking"
# In functions, these two flags replace it. Nobody sets them together, they have no effect outside a cluster, and they
# are stored with the library, so the flag survives a restart.
_STAND_INS = (b"no-cluster", b"allow-cross-slot-keys")
_QUOTED_STAND_INS = b"'no-cluster','allow-cross-slot-keys'"
_QUOTED_FLAG = re.compile(rb"""(['"])allow-key-locking\1""")
_SCRIPT_COMMANDS = {"EVAL", "EVAL_RO", "EVALSHA", "EVALSHA_RO", "SCRIPT", "FUNCTION"}
_MISSING = "NOSCRIPT No matching script. Please use EVAL."
_REFUSED = "ERR ACL failure in script"


class KeyLocking:
    """The scripts and functions that have the flag."""

    def __init__(self) -> None:
        self._engine_sha: dict[bytes, bytes] = {}
        self.functions: set[str] | None = None
        """The functions with the flag, in lower case; None until they are read from the engine."""

    def to_engine(self, command: EngineCommand) -> EngineCommand:
        """Return a command without the flag."""
        return self._translated(command) if name_of(command) in _SCRIPT_COMMANDS else command

    def _translated(self, command: EngineCommand) -> EngineCommand:
        match name_of(command), text_of(command[1][:8]).upper() if len(command) > 1 else "":
            case "EVAL" | "EVAL_RO", script if script:
                return [command[0], self._without_flag(bytes_of(command[1])), *command[2:]]
            case "EVALSHA" | "EVALSHA_RO", sha if sha:
                return [command[0], self._sha(command[1]), *command[2:]]
            case "SCRIPT", "LOAD" if len(command) == 3:
                return [*command[:2], self._without_flag(bytes_of(command[2]))]
            case "SCRIPT", "EXISTS":
                return [*command[:2], *map(self._sha, command[2:])]
            case "SCRIPT", "FLUSH":
                self._engine_sha.clear()
            case "FUNCTION", "LOAD":
                return [*command[:-1], _QUOTED_FLAG.sub(_QUOTED_STAND_INS, _flagless(bytes_of(command[-1])))]
        return command

    def to_client(self, command: EngineCommand, reply: EngineReply) -> EngineReply:
        """Return the reply to a command with the flag, and the SHA1 that the client computes."""
        if name_of(command) not in _SCRIPT_COMMANDS:
            return reply
        match name_of(command), text_of(command[1][:8]).upper() if len(command) > 1 else "":
            case "SCRIPT", "LOAD" if isinstance(reply, bytes):
                return _sha1(bytes_of(command[2]))
            case "FUNCTION", subcommand:
                self.functions = None
                return _with_flag(reply) if subcommand == "LIST" else reply
        return reply

    def learn_functions(self, reply: EngineReply) -> None:
        """Read which functions have the flag from the engine's reply to FUNCTION LIST."""
        self.functions = set()
        for library in reply if isinstance(reply, list) else []:
            for function in _fields(library).get(b"functions", []):
                entry = _fields(function)
                if set(_STAND_INS) <= set(entry.get(b"flags", [])):
                    self.functions.add(text_of(entry[b"name"]).lower())

    def locks_keys(self, command: EngineCommand) -> bool:
        """Return whether a command runs a script or function with the flag."""
        if len(command) < 2:
            return False
        match name_of(command):
            case "EVAL" | "EVAL_RO":
                script = bytes_of(command[1])
                return _flagless(script) != script
            case "EVALSHA" | "EVALSHA_RO":
                return bytes_of(command[1]).lower() in self._engine_sha
            case "FCALL" | "FCALL_RO":
                return text_of(command[1]).lower() in (self.functions or ())
        return False

    def _without_flag(self, script: bytes) -> bytes:
        plain = _flagless(script)
        if plain != script:
            self._engine_sha[_sha1(script)] = _sha1(plain)
        return plain

    def _sha(self, word: str | bytes) -> bytes:
        sha = bytes_of(word).lower()
        return self._engine_sha.get(sha, sha)


def script_error(reply: EngineReply) -> EngineReply:
    """Return the reply of a script; a missing script and an access error in Upstash's words."""
    text = str(reply) if isinstance(reply, hiredis.ReplyError) else ""
    if text.startswith("NOSCRIPT"):
        return hiredis.ReplyError(_MISSING)
    if not text.startswith(_REFUSED):
        return reply
    if "permissions to run" in text:
        return hiredis.ReplyError(f"ERR This command is not available to the script. {text}")
    return hiredis.ReplyError(f"ERR Dynamic keys are not allowed. Pass every key in KEYS. {text}")


def _flagless(script: bytes) -> bytes:
    shebang = _SHEBANG.match(script)
    if shebang is None or _FLAG not in shebang[1]:
        return script
    words = [_without(word) for word in shebang[1].split()]
    return b" ".join([b"#!lua", *filter(None, words)]) + script[shebang.end() :]


def _without(word: bytes) -> bytes:
    if not word.startswith(b"flags="):
        return word
    flags = [flag for flag in word[len(b"flags=") :].split(b",") if flag != _FLAG]
    return b"flags=" + b",".join(flags) if flags else b""


def _with_flag(reply: EngineReply) -> EngineReply:
    if isinstance(reply, list):
        has_flag = set(_STAND_INS) <= {item for item in reply if isinstance(item, bytes)}
        flags = [_FLAG, *(item for item in reply if item not in _STAND_INS)] if has_flag else reply
        return [_with_flag(item) for item in flags]
    return reply.replace(_QUOTED_STAND_INS, b"'" + _FLAG + b"'") if isinstance(reply, bytes) else reply


def _fields(pairs: EngineReply) -> dict[bytes, EngineReply]:
    return dict(zip(pairs[::2], pairs[1::2], strict=False))


def _sha1(script: bytes) -> bytes:
    return hashlib.sha1(script, usedforsecurity=False).hexdigest().encode()
