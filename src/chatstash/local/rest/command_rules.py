"""The commands that the REST API accepts, and its errors for the others. Pure.

https://upstash.com/docs/redis/features/restapi#rest---redis-api-compatibility: of the connection group only PING and
ECHO; no blocking commands, no WATCH, UNWATCH or DISCARD, no cluster commands. Server commands that would stop,
reconfigure or replace the engine are rejected too.
"""

from __future__ import annotations

from collections.abc import Sequence

from chatstash.local.engine.commands import name_of, text_of


class BadRequest(ValueError):
    """A request rejected with status 400; the text is the API's error."""


_NOT_IN_REST = {
    "ASKING", "AUTH", "CLIENT", "DISCARD", "EXEC", "HELLO", "MONITOR", "MULTI", "PSUBSCRIBE", "PUNSUBSCRIBE", "QUIT",
    "READONLY", "READWRITE", "RESET", "SELECT", "SSUBSCRIBE", "SUBSCRIBE", "SUNSUBSCRIBE", "UNSUBSCRIBE", "UNWATCH",
    "WATCH",
}  # fmt: skip
_BLOCKING = {"BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP", "WAIT", "WAITAOF"}
_SERVER = {
    "ACL", "BGREWRITEAOF", "BGSAVE", "CLUSTER", "CLUSTERSCAN", "COMMANDLOG", "CONFIG", "DEBUG", "FAILOVER", "LATENCY",
    "LOLWUT", "MIGRATE", "MODULE", "MOVE", "PFDEBUG", "PFSELFTEST", "PSYNC", "REPLCONF", "REPLICAOF", "RESTORE-ASKING",
    "SAVE", "SHUTDOWN", "SLAVEOF", "SLOWLOG", "SWAPDB", "SYNC",
}  # fmt: skip
# Valkey takes these names for HTTP and closes the connection.
_CROSS_PROTOCOL = {"POST", "HOST:"}
DENIED_TO_SCRIPTS = tuple(sorted(_NOT_IN_REST | _SERVER))
"""Commands that scripts must not call either: they would reach other databases, or the engine itself."""
_UNAVAILABLE = _BLOCKING | _SERVER | _CROSS_PROTOCOL
_SCRIPT_SUBCOMMANDS = {"EXISTS", "FLUSH", "KILL", "LOAD"}
_BLOCK_OPTION = {"XREAD", "XREADGROUP"}
# The official SDKs send this to identify themselves.
_CLIENT_SUBCOMMANDS = {"SETINFO"}
_SCAN_PAIRS = {"MATCH", "COUNT", "TYPE"}
_SUSPECT = _NOT_IN_REST | _UNAVAILABLE | _BLOCK_OPTION | {"SCRIPT", "SCAN", "COPY"}
# Options that Upstash has and the embedded Valkey lacks, by command; another Redis may know them.
_REFERENCES = {"KEEPREF", "DELREF", "ACKED"}
_NEWER_OPTIONS = {"BITOP": {"DIFF", "DIFF1", "ANDOR", "ONE"}, "XADD": _REFERENCES, "XTRIM": _REFERENCES}
_NOT_KNOWN = ("ERR syntax error", "ERR Invalid stream ID")


def rejection_of(command: Sequence[str | bytes]) -> str | None:
    """Return the error with which the API rejects a command, or None if it accepts it."""
    name = name_of(command)
    if name not in _SUSPECT:
        return None
    subcommand = text_of(command[1]).upper() if len(command) > 1 else ""
    if name in _NOT_IN_REST and not (name == "CLIENT" and subcommand in _CLIENT_SUBCOMMANDS):
        return f'ERR Command "{name}" is not allowed in REST or it has a special context path'
    if name in _UNAVAILABLE:
        return not_available(name)
    if name == "SCRIPT" and subcommand and subcommand not in _SCRIPT_SUBCOMMANDS:
        return not_available(f"SCRIPT {subcommand}")
    if name in _BLOCK_OPTION and "BLOCK" in _options(command):
        return f"ERR Blocking version of '{name}' is not available in REST"
    option = _rejected_option(name, command)
    return not_available(f"{name} {option}") if option else None


def _rejected_option(name: str, command: Sequence[str | bytes]) -> str:
    """Return DB of COPY, or WITHTYPE of SCAN unless it is the value of another option."""
    if name == "COPY":
        return "DB" if "DB" in _upper(command[3:]) else ""
    words = iter(_upper(command[2:]) if name == "SCAN" else [])
    for word in words:
        if word == "WITHTYPE":
            return word
        if word in _SCAN_PAIRS:
            next(words, None)
    return ""


def option_error(command: Sequence[str | bytes], error: str) -> str:
    """Return Upstash's error if the engine's is about an option that only Upstash has, else the engine's."""
    options = _NEWER_OPTIONS.get(name_of(command))
    if options is None or not error.startswith(_NOT_KNOWN):
        return error
    lacking = next((word for word in _upper(command[1:]) if word in options), None)
    return not_available(f"{name_of(command)} {lacking}") if lacking else error


def not_available(name: str) -> str:
    """Return Upstash's error for a command that is not available."""
    return (
        f"ERR Command is not available: '{name}'. "
        "See https://upstash.com/docs/redis/overall/rediscompatibility for details"
    )


def not_permitted(name: str) -> str:
    """Return the error of a token that may not run a command."""
    return f"NOPERM this user has no permissions to run the '{name.lower()}' command"


def _options(command: Sequence[str | bytes]) -> list[str]:
    """Return the words before STREAMS, which precedes the names of streams."""
    # Skips GROUP and the names of group and consumer, which may be STREAMS.
    start = 4 if name_of(command) == "XREADGROUP" else 1
    words = _upper(command[start:])
    return words[: words.index("STREAMS")] if "STREAMS" in words else words


def _upper(words: Sequence[str | bytes]) -> list[str]:
    return [text_of(word).upper() for word in words]
