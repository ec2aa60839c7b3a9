"""Turns refusals into errors: the database's own, and those of whatever answers in its place."""

from __future__ import annotations

from collections.abc import Mapping

from chatstash import errors
from chatstash.rest.http.exchange import HttpReply
from chatstash.rest.protocol.requests import DigestRefused, ReplyFormatRefused, ScriptFlagsRefused, ScriptMissing
from chatstash.rest.secret import Secret, redact

_MAX_SHOWN = 200
_MAX_CLEANED = 4000
_MAX_DECODED = 2**16
_MAX_RETRY_AFTER = 10.0**9

# How error texts begin, as Upstash and Redis document them:
# https://upstash.com/docs/redis/troubleshooting and https://redis.io/docs/latest/develop/reference/protocol-spec/
_BY_TEXT: tuple[tuple[str, type[errors.DatabaseError], str], ...] = (
    ("WRONGPASS", errors.BadCredentials, "The database does not accept the token"),
    ("NOAUTH", errors.BadCredentials, "The database requires a token"),
    ("NOPERM", errors.ReadOnlyToken, "The token may not run this command"),
    ("WRONGTYPE", errors.WrongType, "The key holds a value of another type"),
    ("ERR max request size", errors.RequestTooLarge, "The request or its reply exceeds the plan's size limit"),
    (
        "ERR max single record size",
        errors.RequestTooLarge,
        "The conversation exceeds the plan's size limit for one record",
    ),
    ("ERR max key size", errors.RequestTooLarge, "The key exceeds the size limit"),
    ("ERR DB capacity quota", errors.QuotaExceeded, "The database's storage is full"),
    ("ERR max daily request limit", errors.QuotaExceeded, "The plan's commands are used up"),
    ("ERR max requests limit", errors.QuotaExceeded, "The plan's commands are used up"),
    ("NOSCRIPT", ScriptMissing, "The server does not have the script"),
    ("LOADING", errors.ServerError, "The database is still loading"),
    ("BUSY", errors.ServerError, "The database is busy"),
    ("TRYAGAIN", errors.ServerError, "The database asks for a retry"),
    ("CLUSTERDOWN", errors.ServerError, "The database is down"),
    ("MASTERDOWN", errors.ServerError, "The database is down"),
)

# Redis and Valkey from version 7 on, and before, refuse the first line of a script in these words.
_REFUSED_FLAGS = ("script shebang", "unexpected symbol near '#'")

_BY_STATUS: Mapping[int, tuple[type[errors.DatabaseError], str]] = {
    401: (errors.BadCredentials, "The database does not accept the token"),
    408: (errors.GatewayError, "A proxy in front of the database timed out"),
    413: (errors.RequestTooLarge, "The request exceeds the size limit"),
    429: (errors.RateLimited, "There are too many requests"),
}


def refusal(text: str, reply: HttpReply, token: Secret) -> errors.DatabaseError:
    """Return the error for a refusal by the database, in its own words."""
    kind, problem = _kind_of(text, reply.status)
    return _error(kind, problem, reply, _shown(text, token), is_refused=reply.status < 500)


def _kind_of(text: str, status: int) -> tuple[type[errors.DatabaseError], str]:
    if status >= 500:
        return errors.ServerError, f"The server failed (status {status})"
    if text.startswith(("ERR", "NOPERM")) and "evalsha" in text.lower():
        # The server lacks the command, or the token may not run it. The error names the command.
        return DigestRefused, "The server does not run scripts by their digest"
    for beginning, kind, problem in _BY_TEXT:
        if text.startswith(beginning):
            return kind, problem
    return _BY_STATUS.get(status) or _kind_of_form(text)


def _kind_of_form(text: str) -> tuple[type[errors.DatabaseError], str]:
    if "resp2" in text.lower() or "response-format" in text.lower():
        return ReplyFormatRefused, "The server does not know the requested reply format"
    if any(sign in text for sign in _REFUSED_FLAGS):
        return ScriptFlagsRefused, "The server does not know the flags of the script"
    return errors.CommandRejected, "The database refused the command"


def not_the_api(reply: HttpReply, reason: str, token: Secret) -> errors.DatabaseError:
    """Return the error for a body that does not follow the API: a proxy's page, a login form, half a reply."""
    if reply.status in _BY_STATUS:
        kind, problem = _BY_STATUS[reply.status]
    elif reply.status >= 500:
        kind, problem = errors.GatewayError, f"A proxy in front of the database failed (status {reply.status})"
    else:
        kind, problem = (
            errors.ProtocolError,
            f"The reply (status {reply.status}) does not follow Upstash's REST API: {reason}",
        )
    # A status of 3xx or 4xx says that the request was not carried out.
    said = _shown(reply.body[:_MAX_DECODED].decode("utf-8", "replace"), token)
    return _error(kind, problem, reply, said, is_refused=300 <= reply.status < 500)


def _error(
    kind: type[errors.DatabaseError], problem: str, reply: HttpReply, said: str, *, is_refused: bool
) -> errors.DatabaseError:
    applied = errors.Applied.NO if is_refused else errors.Applied.UNKNOWN
    # In seconds; a date, the header's other form, is ignored.
    value = reply.headers.get("retry-after", "")
    retry_after = min(float(value), _MAX_RETRY_AFTER) if value.isascii() and value.isdigit() else None
    return kind(problem, status=reply.status, server_text=said, applied=applied, retry_after=retry_after)


def _shown(text: str, token: Secret) -> str:
    """Return a server's text fit for an error message: short, on one line, without the token."""
    clean = redact(text, token)
    clean = " ".join("".join(char if char.isprintable() else " " for char in clean[:_MAX_CLEANED]).split())
    return clean if len(clean) <= _MAX_SHOWN else clean[:_MAX_SHOWN] + "…"
