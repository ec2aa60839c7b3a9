"""The address of an engine: `unix:///path`, `redis://…` or `rediss://…`. Pure."""

from __future__ import annotations

from urllib.parse import SplitResult, unquote, urlsplit

from chatstash.local.engine.commands import EngineCommand


def parse_address(url: str) -> SplitResult:
    """Split an engine's URL.

    Raises:
        ValueError: It has parts that would be ignored. The message never quotes it: it may hold a password.
    """
    try:
        parts = urlsplit(url)
        is_strange = bool(parts.query or parts.fragment or parts.port == 0)
    except ValueError:
        is_strange = True
    if is_strange:
        raise ValueError(
            "the engine's url is invalid: remove any query or fragment, and percent-encode special characters in the "
            "password (# is %23)"
        )
    return parts


def database_number(url: str) -> int:
    """Return the number of the database that an engine's URL names."""
    return int(_database(parse_address(url)) or 0)


def login_commands(parts: SplitResult) -> list[EngineCommand]:
    """Return the commands that authenticate and select the database."""
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    database = _database(parts)
    commands: list[EngineCommand] = []
    if password:
        commands.append(["AUTH", user, password] if user else ["AUTH", password])
    if database:
        commands.append(["SELECT", database])
    return commands


def _database(parts: SplitResult) -> str:
    # The path of a Unix socket is its file, not a database.
    return "" if parts.scheme == "unix" else parts.path.strip("/")
