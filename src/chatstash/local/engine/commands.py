"""Commands and replies of an engine as plain values. Pure."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, TypeAlias

EngineCommand: TypeAlias = list[str | bytes]
EngineReply: TypeAlias = Any
"""bytes, int, None, `hiredis.ReplyError`, or a list of these."""


def text_of(word: str | bytes) -> str:
    """Return a word of a command as a string."""
    return word.decode(errors="replace") if isinstance(word, bytes) else word


def bytes_of(word: str | bytes) -> bytes:
    """Return a word of a command as bytes."""
    return word.encode() if isinstance(word, str) else word


def name_of(command: Sequence[str | bytes]) -> str:
    """Return a command's name in upper case."""
    return _name(command[0])


@functools.lru_cache(maxsize=1024)
def _name(word: str | bytes) -> str:
    return text_of(word).upper()


def size_of(command: Sequence[str | bytes]) -> int:
    """Return the bytes of a command's name and arguments."""
    size = 0
    for word in command:
        size += len(word) if isinstance(word, bytes) or word.isascii() else len(word.encode())
    return size


def runs_script(name: str) -> bool:
    """Return whether a command of this name runs a script or function."""
    return name in _RUN_SCRIPT


def ends_script(command: Sequence[str | bytes]) -> bool:
    """Return whether a command ends a running script."""
    return len(command) > 1 and name_of(command) in ("SCRIPT", "FUNCTION") and text_of(command[1]).upper() == "KILL"


_RUN_SCRIPT = {"EVAL", "EVAL_RO", "EVALSHA", "EVALSHA_RO", "FCALL", "FCALL_RO"}
