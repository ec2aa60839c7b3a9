"""HTTP requests into the commands they ask for. Pure.

https://upstash.com/docs/redis/features/restapi: a command as a JSON array in the body (`POST /`), in the path
(`/set/foo/bar`), or both: a body is appended to the path's arguments, and query parameters after it
(`POST /set/foo?EX=100`).
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

from chatstash.local.engine.commands import EngineCommand
from chatstash.local.rest.command_rules import BadRequest
from chatstash.local.rest.encoding import Encoding, encoding_of


class RequestKind(enum.Enum):
    """How a request runs its commands."""

    COMMAND = "command"
    PIPELINE = "pipeline"
    TRANSACTION = "transaction"
    EVENTS = "events"


@dataclass(slots=True)
class RestRequest:
    """A parsed request."""

    kind: RequestKind
    commands: list[EngineCommand]
    encoding: Encoding


_BATCHES = {b"/pipeline": RequestKind.PIPELINE, b"/multi-exec": RequestKind.TRANSACTION}
_EVENTS = {b"subscribe", b"psubscribe", b"monitor"}


def parse_request(target: bytes, headers: Mapping[bytes, bytes], body: bytes) -> RestRequest:
    """Parse a request; raises BadRequest."""
    path, _, query = target.partition(b"?")
    kind = _BATCHES.get(path)
    wanted = encoding_of(headers, transaction=kind is RequestKind.TRANSACTION)
    if kind is not None:
        return RestRequest(kind, _parsed(body, _batch), wanted)
    if path in (b"/", b""):
        return RestRequest(RequestKind.COMMAND, _parsed(body, _single), wanted)
    words = [unquote_to_bytes(part) for part in path.removeprefix(b"/").split(b"/")]
    if words[0].lower() in _EVENTS:
        return RestRequest(RequestKind.EVENTS, [[*words]], wanted)
    command: EngineCommand = [*words, *([body] if body else []), *_parameters(query)]
    return RestRequest(RequestKind.COMMAND, [command], wanted)


def token_of(target: bytes, headers: Mapping[bytes, bytes]) -> bytes:
    """Return the token of a request, from its header or from `?_token=`; empty if it has none."""
    scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        return given.strip()
    query = target.partition(b"?")[2]
    tokens = [value for name, value in _pairs(query) if name == b"_token"]
    return tokens[-1] if tokens else b""


def _pairs(query: bytes) -> list[tuple[bytes, bytes]]:
    parts = [part.partition(b"=") for part in query.split(b"&") if part]
    return [(_unquoted(name), _unquoted(value)) for name, _, value in parts]


def _unquoted(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def _parameters(query: bytes) -> list[str | bytes]:
    """Return the query's names and values as arguments; a bare name (`?NX`) is one argument."""
    words: list[str | bytes] = []
    for name, value in _pairs(query):
        if name != b"_token":
            words += [name, value] if value else [name]
    return words


def _parsed(body: bytes, read: Callable[[Any], list[EngineCommand]]) -> list[EngineCommand]:
    try:
        return read(_json(body))
    except _ExactNumberNeeded:
        return read(_exact_json(body))


def _single(row: Any) -> list[EngineCommand]:
    return [_command(row)]


def _batch(rows: Any) -> list[EngineCommand]:
    if not isinstance(rows, list) or not rows:
        raise BadRequest("ERR failed to parse pipeline request: send a two-dimensional array")
    return [*map(_command, rows)]


class _ExactNumberNeeded(Exception):
    """A number must be passed on as written."""


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        # orjson rejects half a surrogate pair, which other parsers accept.
        return _exact_json(body)


def _exact_json(body: bytes) -> Any:
    """Decode with all numbers as strings, as written."""
    try:
        return json.loads(body.decode(), parse_int=str, parse_float=str, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BadRequest("ERR failed to parse JSON request body") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _command(row: Any) -> EngineCommand:
    if not isinstance(row, list) or not row:
        raise BadRequest("ERR failed to parse command: send an array of strings, numbers and booleans")
    return [word if type(word) is str and word.isascii() else _argument(word) for word in row]


def _argument(word: Any) -> str | bytes:
    if type(word) is str:
        # Half a surrogate pair, which UTF-8 cannot encode, becomes U+FFFD.
        return word.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
    if type(word) is int:
        return str(word)
    if type(word) is float:
        raise _ExactNumberNeeded
    if type(word) is bool:
        return "true" if word else "false"
    raise BadRequest(_unsupported(word))


def _unsupported(word: Any) -> str:
    """Return Upstash's error for an argument that is null, an array or an object."""
    if word is None:
        return "ERR null args are not supported"
    return f'ERR unsupported arg type: "{"[" if isinstance(word, list) else "{"}": json.Delim'
