"""Upstash's script flag `allow-key-locking`, which Valkey and Redis do not know: taken off on the way to the engine.

https://upstash.com/docs/redis/features/lua: with the flag a script locks only its KEYS. A client computes a script's
SHA1 over its own text, so the engine's SHA of the text without the flag is kept beside it. Pure.
"""

from __future__ import annotations

import hashlib
import re

from chatstash.local.commands import EngineCommand

_SHEBANG = re.compile(rb"\A#!lua([^\n]*)")
_FLAG = b"allow-key-locking"


class Scripts:
    """The scripts seen so far that carry the flag: the engine's SHA by the client's."""

    def __init__(self) -> None:
        self._engine_sha: dict[bytes, bytes] = {}

    def to_engine(self, command: EngineCommand) -> EngineCommand:
        """Return the command as the engine takes it."""
        match [_upper(word) for word in command[:2]]:
            case [b"EVAL" | b"EVAL_RO", _]:
                return [command[0], self._without_flag(_bytes(command[1])), *command[2:]]
            case [b"EVALSHA" | b"EVALSHA_RO", _]:
                return [command[0], self._sha(command[1]), *command[2:]]
            case [b"SCRIPT", b"LOAD"] if len(command) == 3:
                return [*command[:2], self._without_flag(_bytes(command[2]))]
            case [b"SCRIPT", b"EXISTS"]:
                return [*command[:2], *map(self._sha, command[2:])]
            case [b"FUNCTION", b"LOAD"]:
                return [*command[:-1], _flagless(_bytes(command[-1]))]
            case _:
                return command

    def to_client(self, command: EngineCommand, reply: object) -> object:
        """Return the engine's reply as the client expects it: SCRIPT LOAD answers the SHA of the client's text."""
        loads = [_upper(word) for word in command[:2]] == [b"SCRIPT", b"LOAD"]
        return _sha1(_bytes(command[2])) if loads and isinstance(reply, bytes) else reply

    def _without_flag(self, script: bytes) -> bytes:
        plain = _flagless(script)
        if plain != script:
            self._engine_sha[_sha1(script)] = _sha1(plain)
        return plain

    def _sha(self, word: str | bytes) -> bytes:
        sha = _bytes(word).lower()
        return self._engine_sha.get(sha, sha)


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


def _sha1(script: bytes) -> bytes:
    return hashlib.sha1(script, usedforsecurity=False).hexdigest().encode()


def _bytes(word: str | bytes) -> bytes:
    return word.encode() if isinstance(word, str) else word


def _upper(word: str | bytes) -> bytes:
    return _bytes(word).upper()
