"""Which commands the REST API takes, and what it says of the others. Pure.

https://upstash.com/docs/redis/features/restapi#rest---redis-api-compatibility: of the connection group only PING and
ECHO; no blocking commands, no WATCH, UNWATCH or DISCARD, no cluster commands. The server commands refused besides are
those that would take the engine down, away or apart.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeAlias

EngineCommand: TypeAlias = list[str | bytes]

_CONNECTION = {"AUTH", "CLIENT", "HELLO", "QUIT", "RESET", "SELECT", "READONLY", "READWRITE", "ASKING"}
_BLOCKING = {"BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP", "WAIT", "WAITAOF"}
_TRANSACTIONS = {"MULTI", "EXEC", "WATCH", "UNWATCH", "DISCARD"}
_SUBSCRIPTIONS = {"SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE", "MONITOR"}
_SERVER = {
    "ACL", "BGREWRITEAOF", "BGSAVE",
    "CLUSTER", "COMMANDLOG", "CONFIG", "DEBUG", "FAILOVER", "LATENCY", "LOLWUT", "MIGRATE",
    "MODULE", "PFDEBUG", "PFSELFTEST", "PSYNC", "REPLCONF", "REPLICAOF", "RESTORE-ASKING", "SAVE", "SHUTDOWN",
    "SLAVEOF", "SLOWLOG", "SWAPDB", "SYNC",
}  # fmt: skip
# Names by which Valkey recognises HTTP and closes the connection.
_CROSS_PROTOCOL = {"POST", "HOST:"}
_REFUSED = _CONNECTION | _BLOCKING | _TRANSACTIONS | _SUBSCRIPTIONS | _SERVER | _CROSS_PROTOCOL
_SCRIPT_SUBCOMMANDS = {"EXISTS", "FLUSH", "KILL", "LOAD"}
_BLOCK_OPTION = {"XREAD", "XREADGROUP"}


class BadRequest(ValueError):
    """A request that is refused with status 400; the text is the API's answer."""


def parse_command(body: bytes) -> EngineCommand:
    """Return the command of a body like `["SET", "foo", 1]`; raises BadRequest."""
    return _command(_json(body))


def parse_batch(body: bytes) -> list[EngineCommand]:
    """Return the commands of a body like `[["SET", "foo", 1], ["GET", "foo"]]`; raises BadRequest."""
    rows = _json(body)
    if not isinstance(rows, list) or not rows:
        raise BadRequest("ERR failed to parse pipeline request: a two dimensional array is wanted")
    return [_command(row) for row in rows]


def refusal_of(command: Sequence[str | bytes]) -> str | None:
    """Return the error with which the API refuses a command, or None where it takes it."""
    name = _text(command[0]).upper()
    if name in _REFUSED:
        return (
            f"ERR Command is not available: '{_text(command[0])}'. See https://upstash.com/docs/redis/features/restapi"
        )
    if name == "SCRIPT" and len(command) > 1 and _text(command[1]).upper() not in _SCRIPT_SUBCOMMANDS:
        return f"ERR Command is not available: 'SCRIPT {_text(command[1])}'"
    if name in _BLOCK_OPTION and "BLOCK" in _options(command):
        return f"ERR Blocking option of '{_text(command[0])}' is not available over REST"
    return None


def _options(command: Sequence[str | bytes]) -> list[str]:
    """Return the words before STREAMS, after which come names of streams."""
    words = [_text(word).upper() for word in command[1:]]
    return words[: words.index("STREAMS")] if "STREAMS" in words else words


def runs_script(command: Sequence[str | bytes]) -> bool:
    """Tell whether a command runs a script, which may never end."""
    return _text(command[0]).upper() in {"EVAL", "EVAL_RO", "EVALSHA", "EVALSHA_RO", "FCALL", "FCALL_RO"}


def ends_script(command: Sequence[str | bytes]) -> bool:
    """Tell whether a command ends a script that runs; behind that script it would wait for ever."""
    return [_text(word).upper() for word in command[:2]] in (["SCRIPT", "KILL"], ["FUNCTION", "KILL"])


def size_of(command: Sequence[str | bytes]) -> int:
    """Return the bytes of a command's name and arguments."""
    return sum(len(word) if isinstance(word, bytes) else len(word.encode()) for word in command)


def _text(word: str | bytes) -> str:
    return word.decode(errors="replace") if isinstance(word, bytes) else word


def _json(body: bytes) -> Any:
    try:
        # Numbers are passed on as they are written, whatever their size.
        return json.loads(body.decode(), parse_int=str, parse_float=str, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BadRequest("ERR failed to parse JSON request body") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _command(row: Any) -> EngineCommand:
    if not isinstance(row, list) or not row or not all(isinstance(word, str) for word in row):
        raise BadRequest("ERR failed to parse command: an array of strings and numbers is wanted")
    return [word if word.isascii() else _utf8(word) for word in row]


def _utf8(word: str) -> bytes:
    # Half a surrogate pair, which JSON can escape but UTF-8 not hold, becomes U+FFFD.
    return word.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
