"""Which commands the REST API takes, and what it says of the others. Pure.

https://upstash.com/docs/redis/features/restapi#rest---redis-api-compatibility: of the connection group only PING and
ECHO; no blocking commands, no WATCH, UNWATCH or DISCARD, no cluster commands. The server commands refused besides are
those that would take the engine down, away or apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from chatstash.local.commands import name_of, text_of


class BadRequest(ValueError):
    """A request that is refused with status 400; the text is the API's answer."""


_ELSEWHERE = {
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
# Names by which Valkey recognises HTTP and closes the connection.
_CROSS_PROTOCOL = {"POST", "HOST:"}
BEYOND_A_SCRIPT = tuple(sorted(_ELSEWHERE | _SERVER))
"""What a script must not call either: it would reach other databases, or the engine itself."""
_UNAVAILABLE = _BLOCKING | _SERVER | _CROSS_PROTOCOL
_SCRIPT_SUBCOMMANDS = {"EXISTS", "FLUSH", "KILL", "LOAD"}
_BLOCK_OPTION = {"XREAD", "XREADGROUP"}
# What the official SDKs send to say who they are.
_CLIENT_SUBCOMMANDS = {"SETINFO"}
_SCAN_PAIRS = {"MATCH", "COUNT", "TYPE"}
_SUSPECT = _ELSEWHERE | _UNAVAILABLE | _BLOCK_OPTION | {"SCRIPT", "SCAN", "COPY"}
# Options that Upstash has and engines lack, by command; a Redis that is given may know them.
_REFERENCES = {"KEEPREF", "DELREF", "ACKED"}
_NEWER_OPTIONS = {"BITOP": {"DIFF", "DIFF1", "ANDOR", "ONE"}, "XADD": _REFERENCES, "XTRIM": _REFERENCES}
_NOT_KNOWN = ("ERR syntax error", "ERR Invalid stream ID")


def refusal_of(command: Sequence[str | bytes]) -> str | None:
    """Return the error with which the API refuses a command, or None where it takes it."""
    name = name_of(command)
    if name not in _SUSPECT:
        return None
    subcommand = text_of(command[1]).upper() if len(command) > 1 else ""
    if name in _ELSEWHERE and not (name == "CLIENT" and subcommand in _CLIENT_SUBCOMMANDS):
        return f'ERR Command "{name}" is not allowed in REST or it has a special context path'
    if name in _UNAVAILABLE:
        return not_available(name)
    if name == "SCRIPT" and subcommand and subcommand not in _SCRIPT_SUBCOMMANDS:
        return not_available(f"SCRIPT {subcommand}")
    if name in _BLOCK_OPTION and "BLOCK" in _options(command):
        return f"ERR Blocking version of '{name}' is not available in REST"
    option = {"SCAN": _scan_option, "COPY": _copy_option}.get(name, _no_option)(command)
    return not_available(f"{name} {option}") if option else None


def _no_option(_: Sequence[str | bytes]) -> str:
    return ""


def _scan_option(command: Sequence[str | bytes]) -> str:
    """Return WITHTYPE where it is an option, and not what MATCH or TYPE looks for."""
    words = iter(_upper(command[2:]))
    for word in words:
        if word == "WITHTYPE":
            return word
        if word in _SCAN_PAIRS:
            next(words, None)
    return ""


def _copy_option(command: Sequence[str | bytes]) -> str:
    return "DB" if "DB" in _upper(command[3:]) else ""


def explained_option(command: Sequence[str | bytes], error: str) -> str:
    """Return an engine's error, in Upstash's words where the engine lacks an option that Upstash has."""
    options = _NEWER_OPTIONS.get(name_of(command))
    if options is None or not error.startswith(_NOT_KNOWN):
        return error
    lacking = next((word for word in _upper(command[1:]) if word in options), None)
    return not_available(f"{name_of(command)} {lacking}") if lacking else error


def not_available(name: str) -> str:
    """Return Upstash's error for a command it does not have."""
    return (
        f"ERR Command is not available: '{name}'. "
        "See https://upstash.com/docs/redis/overall/rediscompatibility for details"
    )


def not_permitted(name: str) -> str:
    """Return the error of a token that may not run a command."""
    return f"NOPERM this user has no permissions to run the '{name.lower()}' command"


def _options(command: Sequence[str | bytes]) -> list[str]:
    """Return the words before STREAMS, after which come names of streams."""
    # GROUP, the group's name, the consumer's name: either may be called STREAMS.
    start = 4 if name_of(command) == "XREADGROUP" else 1
    words = _upper(command[start:])
    return words[: words.index("STREAMS")] if "STREAMS" in words else words


def _upper(words: Sequence[str | bytes]) -> list[str]:
    return [text_of(word).upper() for word in words]
