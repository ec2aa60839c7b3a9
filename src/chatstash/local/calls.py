"""What a request asks for: its commands, how they go together, the encoding of the reply. Pure.

https://upstash.com/docs/redis/features/restapi: a command as a JSON array in the body (`POST /`), in the path
(`/set/foo/bar`), or both: a body is appended to the path's arguments, and query parameters after it
(`POST /set/foo?EX=100`).
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

from chatstash.local.commands import LONGEST_NAME, EngineCommand, text_of
from chatstash.local.encoding import Encoding, encoding_of
from chatstash.local.refusals import BadRequest, not_available


class Kind(enum.Enum):
    """How the commands of a request go together."""

    COMMAND = "command"
    PIPELINE = "pipeline"
    TRANSACTION = "transaction"
    EVENTS = "events"


@dataclass(slots=True)
class Call:
    """One request's commands."""

    kind: Kind
    commands: list[EngineCommand]
    encoding: Encoding


_BATCHES = {b"/pipeline": Kind.PIPELINE, b"/multi-exec": Kind.TRANSACTION}
_EVENTS = {b"subscribe", b"psubscribe", b"monitor"}


def parse_call(target: bytes, headers: Mapping[bytes, bytes], body: bytes) -> Call:
    """Return what a request asks for; raises BadRequest."""
    path, _, query = target.partition(b"?")
    kind = _BATCHES.get(path)
    wanted = encoding_of(headers, transaction=kind is Kind.TRANSACTION)
    if kind is not None:
        return Call(kind, [*map(_named, _batch(body))], wanted)
    if path in (b"/", b""):
        return Call(Kind.COMMAND, [_named(_body_command(body))], wanted)
    words = [unquote_to_bytes(part) for part in path.removeprefix(b"/").split(b"/")]
    if words[0].lower() in _EVENTS:
        return Call(Kind.EVENTS, [[*words]], wanted)
    command: EngineCommand = [*words, *([body] if body else []), *_parameters(query)]
    return Call(Kind.COMMAND, [_named(command)], wanted)


def _named(command: EngineCommand) -> EngineCommand:
    """Return a command whose name can be one; raises BadRequest."""
    if len(command[0]) > LONGEST_NAME:
        raise BadRequest(not_available(f"{text_of(command[0][:LONGEST_NAME]).upper()}…"))
    return command


def token_of(target: bytes, headers: Mapping[bytes, bytes]) -> bytes:
    """Return the token a request carries, in its header or as `?_token=`; empty where there is none."""
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
    """Return the query's names and values as arguments; a name alone (`?NX`) is one argument."""
    words: list[str | bytes] = []
    for name, value in _pairs(query):
        if name != b"_token":
            words += [name, value] if value else [name]
    return words


def _body_command(body: bytes) -> EngineCommand:
    return _command(_json(body), body)


def _batch(body: bytes) -> list[EngineCommand]:
    rows = _json(body)
    if not isinstance(rows, list) or not rows:
        raise BadRequest("ERR failed to parse pipeline request: a two dimensional array is wanted")
    try:
        return [_command(row, None) for row in rows]
    except _NumbersAsWritten:
        return [_command(row, None) for row in _exact_json(body)]


class _NumbersAsWritten(Exception):
    """There is a number that must be passed on as it was written."""


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        # Half a surrogate pair is JSON to others, if not to orjson.
        return _exact_json(body)


def _exact_json(body: bytes) -> Any:
    """Decode with the numbers as they are written, whatever their size."""
    try:
        return json.loads(body.decode(), parse_int=str, parse_float=str, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BadRequest("ERR failed to parse JSON request body") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _command(row: Any, body: bytes | None) -> EngineCommand:
    if not isinstance(row, list) or not row:
        raise BadRequest("ERR failed to parse command: an array of strings, numbers and booleans is wanted")
    try:
        return [word if type(word) is str and word.isascii() else _argument(word) for word in row]
    except _NumbersAsWritten:
        if body is None:
            raise
        return _command(_exact_json(body), None)


def _argument(word: Any) -> str | bytes:
    if type(word) is str:
        # Half a surrogate pair, which JSON can escape but UTF-8 not hold, becomes U+FFFD.
        return word.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
    if type(word) is int:
        return str(word)
    if type(word) is float:
        raise _NumbersAsWritten
    if type(word) is bool:
        return "true" if word else "false"
    raise BadRequest(_unsupported(word))


def _unsupported(word: Any) -> str:
    """Return Upstash's error for an argument that is null, an array or an object."""
    if word is None:
        return "ERR null args are not supported"
    return f'ERR unsupported arg type: "{"[" if isinstance(word, list) else "{"}": json.Delim'
