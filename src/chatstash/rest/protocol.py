"""Upstash's REST protocol: a batch becomes an HTTP request, and an HTTP reply becomes replies or an error. Pure.

Rules from https://upstash.com/docs/redis/features/restapi. The reply is read by its content type, never by what was
asked for: proxies that speak the same API may ignore a header.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote

import hiredis
import orjson

from chatstash.errors import (
    Applied,
    BadCredentials,
    CommandRejected,
    DatabaseError,
    FormRefused,
    GatewayError,
    ProtocolError,
    QuotaExceeded,
    RateLimited,
    ReadOnlyToken,
    ReplyFormatRefused,
    RequestTooLarge,
    ScriptFlagsRefused,
    ServerError,
    WrongType,
)
from chatstash.rest.commands import KEY_LOCKING, READING, Batch, Command, Reply
from chatstash.rest.endpoint import Secret
from chatstash.rest.http.messages import HttpReply, HttpRequest
from chatstash.rest.sync_token import is_sync_token

_SYNC_TOKEN_HEADER = "upstash-sync-token"  # noqa: S105 - a header's name

_SHOWN_TEXT = 200
_LOOKED_AT = 4000
_DECODED = 2**16
_LONGEST_WAIT = 10.0**9
_RESP2 = {"upstash-response-format": "resp2"}
_BASE64 = {"upstash-encoding": "base64"}


class Forms(NamedTuple):
    """The forms of a request that a server knows, as far as it has not refused them.

    Attributes:
        resp2: Replies in RESP2; base64 is asked for otherwise, so that no byte of a stored record is replaced.
        script_flags: `KEY_LOCKING` at the head of scripts.
    """

    resp2: bool = True
    script_flags: bool = True

    def without(self, refused: FormRefused) -> Forms:
        """Return what is left after a refusal."""
        return self._replace(**{"resp2" if isinstance(refused, ReplyFormatRefused) else "script_flags": False})


_ALL_FORMS = Forms()
_NO_TOKEN = Secret("")


def request_for(batch: Batch, *, sync_token: str | None = None, forms: Forms = _ALL_FORMS) -> HttpRequest:
    """Return the HTTP request of a batch.

    Args:
        batch: One command goes to `/`, several to `/pipeline` or, where atomic, `/multi-exec`.
        sync_token: The conversation's sync token, if it has one.
        forms: What the server knows; RESP2 is asked for where the path knows it too.
    """
    path = _path_of(batch)
    headers = {"content-type": "application/json"}
    headers |= _RESP2 if forms.resp2 and path != "/multi-exec" else _BASE64
    if sync_token:
        headers[_SYNC_TOKEN_HEADER] = sync_token
    commands = batch.commands if forms.script_flags else tuple(map(_without_flags, batch.commands))
    return HttpRequest(path, headers, orjson.dumps(commands if len(commands) > 1 else commands[0]))


def _without_flags(command: Command) -> Command:
    if command[0] not in ("EVAL", "EVAL_RO"):
        return command
    return (command[0], str(command[1]).removeprefix(KEY_LOCKING).removeprefix(READING), *command[2:])


def _path_of(batch: Batch) -> str:
    if len(batch.commands) == 1:
        return "/"
    return "/multi-exec" if batch.atomic else "/pipeline"


def sync_token_of(reply: HttpReply) -> str | None:
    """Return a reply's sync token; None where there is none that could be sent back as it is."""
    token = reply.headers.get(_SYNC_TOKEN_HEADER, "")
    return token if is_sync_token(token) else None


def replies_from(
    batch: Batch, request: HttpRequest, reply: HttpReply, *, token: Secret = _NO_TOKEN
) -> tuple[Reply, ...]:
    """Return the replies to a batch, one for each command; that of a failed command of several is its error.

    Args:
        batch: What was asked.
        request: The request it was sent as.
        reply: The HTTP reply to it.
        token: The database's token, taken out of any text of the server that repeats it.

    Raises:
        DatabaseError: The batch was refused as a whole, or the reply is none of the REST API.
    """
    outcome = _outcome(batch, request, reply, token)
    # Raised here, where no local variable holds what the server said: it may have repeated the token.
    if isinstance(outcome, DatabaseError):
        raise outcome
    return outcome


def _outcome(batch: Batch, request: HttpRequest, reply: HttpReply, token: Secret) -> tuple[Reply, ...] | DatabaseError:
    if 300 <= reply.status < 400:
        return ProtocolError(
            f"The server redirects (status {reply.status}), which is not followed", status=reply.status
        )
    try:
        values = _decoded(batch, request, reply)
    except (ValueError, RecursionError) as error:
        return _not_the_api(reply, str(error), token)
    if isinstance(values, _Failure):
        return _refusal(values.text, reply, token)
    if reply.status != 200:
        return _not_the_api(reply, "the status does not go with the body", token)
    return tuple(_refusal(value.text, reply, token) if isinstance(value, _Failure) else value for value in values)


class _Failure(NamedTuple):
    """An error as it is decoded; the text is the server's own."""

    text: str


_RESP2_KINDS = (bytes, int, list, _Failure, type(None))


_Decoded: TypeAlias = tuple[Any, ...] | _Failure


def _decoded(batch: Batch, request: HttpRequest, reply: HttpReply) -> _Decoded:
    """Decode a body; raises ValueError where it is not what the API answers to this batch."""
    if reply.content_type == "application/octet-stream":
        return _from_resp2(batch, reply.body)
    asked_base64 = "upstash-encoding" in request.headers
    return _from_json(batch, orjson.loads(reply.body), asked_base64=asked_base64)


def _from_resp2(batch: Batch, body: bytes) -> _Decoded:
    if wrong := _what_is_wrong_with_structure(body):
        raise ValueError(wrong)
    # hiredis takes any callable for replyError; its types say an exception class.
    reader = hiredis.Reader(protocolError=ValueError, replyError=_Failure)  # type: ignore[arg-type]
    reader.feed(body)
    wanted = len(batch.commands)
    try:
        values = [value for _ in range(wanted) if (value := reader.gets()) is not False]
    except TypeError:
        raise ValueError("the RESP2 body has a map or a set that Python cannot hold") from None
    # By type, for True is an int, and a push of RESP3 a list.
    if not all(type(value) in _RESP2_KINDS for value in values):
        raise ValueError("the RESP2 body has a reply that RESP2 does not know")
    if reader.has_data() or not values:
        raise ValueError("the RESP2 body is cut off or has too much in it")
    if len(values) == wanted:
        return values[0] if wanted == 1 and isinstance(values[0], _Failure) else tuple(values)
    if len(values) == 1:
        return _from_single_resp2(values[0], wanted)
    raise ValueError(f"the RESP2 body has {len(values)} replies to {wanted} commands")


_AGGREGATES = b"*~>%|"
_FURTHER_ARRAY = re.compile(rb"\r\n[*~>%|]\d")
# Patterns that begin with fixed bytes are far faster: so there are two.
_HUGE_COUNT = re.compile(rb"[*~>%|]\d{6}")
_HUGE_COUNT_WITHIN = re.compile(rb"\r\n[*~>%|]\d{6}")
_DEEPEST = 16
"""Arrays within arrays; replies to what is asked here have three."""
_SHORTEST_ELEMENT = len(b"+\r\n")
_LONGEST_COUNT = 20


def _what_is_wrong_with_structure(body: bytes) -> str | None:
    """Tell of more elements than could follow, or of arrays nested too deeply: hiredis would take memory for both.

    The walk over all elements costs as much as hiredis itself, so it is left out where the bytes cannot hold either: a
    list of records has one array, and no count of six digits unless it is long.
    """
    arrays = sum(1 for _ in islice(_FURTHER_ARRAY.finditer(body), _DEEPEST))
    is_huge = _HUGE_COUNT.match(body) or (arrays and _HUGE_COUNT_WITHIN.search(body))
    return _walk(body) if is_huge or arrays == _DEEPEST else None


def _walk(body: bytes) -> str | None:
    """Walk over the elements, as their headers say; what a text holds is passed over by its length."""
    at, most = 0, len(body) // _SHORTEST_ELEMENT
    missing: list[int] = []  # elements still to come, of each array that is open
    while (end := body.find(b"\r\n", at)) >= 0:
        kind, number = body[at : at + 1], body[at + 1 : end]
        at = end + 2
        if missing:
            missing[-1] -= 1
        if kind in _AGGREGATES or kind in b"$=":
            if not number.removeprefix(b"-").isdigit() or len(number) > _LONGEST_COUNT:
                return "the RESP2 body has a length that is none"
            count = int(number)
            if kind in b"$=":
                at += count + 2 if count >= 0 else 0
            elif count > most:
                return "the RESP2 body claims more elements than it has room for"
            else:
                missing.append(count * (2 if kind in b"%|" else 1))
        while missing and missing[-1] <= 0:
            missing.pop()
        if len(missing) > _DEEPEST:
            return "the RESP2 body is nested too deeply"
    return None


def _from_single_resp2(value: Any, wanted: int) -> _Decoded:
    """Take one reply to several commands: an error for all of them, or an array that holds theirs."""
    if isinstance(value, _Failure):
        return value
    if isinstance(value, list) and len(value) == wanted:
        return tuple(value)
    raise ValueError(f"the RESP2 body has one reply to {wanted} commands")


def _from_json(batch: Batch, body: Any, *, asked_base64: bool) -> _Decoded:
    single = len(batch.commands) == 1
    if isinstance(body, dict) and (single or isinstance(body.get("error"), str)):
        entries: Sequence[Any] = [body]
    elif isinstance(body, list) and len(body) == len(batch.commands) and not single:
        entries = body
    else:
        raise ValueError("the JSON body is not one reply for each command")
    values = [_entry(entry) for entry in entries]
    if isinstance(values[0], _Failure) and isinstance(body, dict):
        return values[0]
    in_base64 = asked_base64 and all(map(_is_base64, values))
    return tuple(_as_bytes(value, in_base64=in_base64) for value in values)


def _entry(entry: Any) -> Any:
    if isinstance(entry, dict) and isinstance(entry.get("error"), str):
        return _Failure(entry["error"])
    if isinstance(entry, dict) and "result" in entry:
        return entry["result"]
    raise ValueError('an entry of the JSON body has neither "result" nor "error"')


def _is_base64(value: Any) -> bool:
    """Tell whether all strings of a reply can be base64. A proxy may not know the header; records begin with {."""
    if isinstance(value, list):
        return all(map(_is_base64, value))
    if not isinstance(value, str) or value == "OK":
        return True
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _as_bytes(value: Any, *, in_base64: bool) -> Any:
    if isinstance(value, str):
        return base64.b64decode(value) if in_base64 and value != "OK" else value.encode()
    if isinstance(value, list):
        return [_as_bytes(item, in_base64=in_base64) for item in value]
    if isinstance(value, float):
        return repr(value).encode()
    if value is None or (isinstance(value, (int, _Failure)) and not isinstance(value, bool)):
        return value
    raise ValueError(f"a reply is a JSON {type(value).__name__}")


# The beginnings of error texts, as Upstash documents or Redis words them:
# https://upstash.com/docs/redis/troubleshooting and https://redis.io/docs/latest/develop/reference/protocol-spec/
_BY_TEXT: tuple[tuple[str, type[DatabaseError], str], ...] = (
    ("WRONGPASS", BadCredentials, "The database does not accept the token"),
    ("NOAUTH", BadCredentials, "The database asks for a token"),
    ("NOPERM", ReadOnlyToken, "The token may not run this command"),
    ("WRONGTYPE", WrongType, "The key holds a value of another type"),
    ("ERR max request size", RequestTooLarge, "The request or its reply is over the plan's size limit"),
    ("ERR max single record size", RequestTooLarge, "The conversation is over the plan's limit for one record"),
    ("ERR max key size", RequestTooLarge, "The key is over the size limit"),
    ("ERR DB capacity quota", QuotaExceeded, "The database's storage is full"),
    ("ERR max daily request limit", QuotaExceeded, "The plan's commands are used up"),
    ("ERR max requests limit", QuotaExceeded, "The plan's commands are used up"),
    ("LOADING", ServerError, "The database is still loading"),
    ("BUSY", ServerError, "The database is busy"),
    ("TRYAGAIN", ServerError, "The database asks to try again"),
    ("CLUSTERDOWN", ServerError, "The database is down"),
    ("MASTERDOWN", ServerError, "The database is down"),
)

# How Redis and Valkey from 7 on, and those before, word that they do not know a script's first line.
_SIGNS_OF_REFUSED_FLAGS = ("script shebang", "unexpected symbol near '#'")

_BY_STATUS: Mapping[int, tuple[type[DatabaseError], str]] = {
    401: (BadCredentials, "The database does not accept the token"),
    408: (GatewayError, "Something before the database gave up waiting for the request"),
    413: (RequestTooLarge, "The request is over the size limit"),
    429: (RateLimited, "There are too many requests at once"),
}


def _refusal(text: str, reply: HttpReply, token: Secret) -> DatabaseError:
    """Return the error that the database's own words stand for."""
    kind, problem = _kind_of(text, reply.status)
    return kind(
        problem,
        status=reply.status,
        server_text=_shown(text, token),
        applied=Applied.UNKNOWN if reply.status >= 500 else Applied.NO,
        retry_after=_retry_after(reply),
    )


def _kind_of(text: str, status: int) -> tuple[type[DatabaseError], str]:
    if status >= 500:
        return ServerError, f"The server failed (status {status})"
    for beginning, kind, problem in _BY_TEXT:
        if text.startswith(beginning):
            return kind, problem
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if "resp2" in text.lower() or "response-format" in text.lower():
        return ReplyFormatRefused, "The server does not know the reply format asked for"
    if any(sign in text for sign in _SIGNS_OF_REFUSED_FLAGS):
        return ScriptFlagsRefused, "The server does not know the flags of the script"
    return CommandRejected, "The database refused the command"


def _not_the_api(reply: HttpReply, reason: str, token: Secret) -> DatabaseError:
    """Return the error for a body that is none of the API's: a proxy's page, a login form, half a reply."""
    if reply.status in _BY_STATUS:
        kind, problem = _BY_STATUS[reply.status]
    elif reply.status >= 500:
        kind, problem = GatewayError, f"Something before the database failed (status {reply.status})"
    else:
        kind, problem = ProtocolError, f"The reply (status {reply.status}) is not of Upstash's REST API: {reason}"
    # What answers 3xx or 4xx says that it did not do what was asked.
    refused = 300 <= reply.status < 500
    return kind(
        problem,
        status=reply.status,
        server_text=_shown(reply.body[:_DECODED].decode("utf-8", "replace"), token),
        applied=Applied.NO if refused else Applied.UNKNOWN,
        retry_after=_retry_after(reply),
    )


def _retry_after(reply: HttpReply) -> float | None:
    """Return the seconds of a Retry-After header, at most 10^9; its other form, a date, is left aside."""
    value = reply.headers.get("retry-after", "")
    return min(float(value), _LONGEST_WAIT) if value.isascii() and value.isdigit() else None


def _shown(text: str, token: Secret) -> str:
    """Return a server's text in a form fit for a message or a log line: short, on one line, without the token."""
    clean = without_token(text, token)
    clean = " ".join("".join(char if char.isprintable() else " " for char in clean[:_LOOKED_AT]).split())
    return clean if len(clean) <= _SHOWN_TEXT else clean[:_SHOWN_TEXT] + "…"


def without_token(text: str, token: Secret) -> str:
    """Return `text` with `***` for the token, as it is or as JSON, HTML, a URL or base64 write it."""
    if not token.get_secret_value():
        return text
    for form in sorted(_forms_of(token), key=len, reverse=True):
        text = text.replace(form, "***")
    return text


def _forms_of(token: Secret) -> set[str]:
    import html  # noqa: PLC0415 - a millisecond, and hardly ever needed

    plain = token.get_secret_value()
    in_json = plain.replace("\\", "\\\\").replace('"', '\\"')
    in_base64 = base64.b64encode(plain.encode()).decode().rstrip("=")
    return {plain, in_json, in_json.replace("/", "\\/"), html.escape(plain), quote(plain, safe=""), in_base64}
