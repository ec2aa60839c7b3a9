"""Decodes the bodies of replies: RESP2 with hiredis, and JSON with base64 strings or plain ones.

RESP2: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

import hiredis
import orjson


class Failure(NamedTuple):
    """The error of one command, in the server's words."""

    text: str


Decoded: TypeAlias = tuple[Any, ...] | Failure
"""One value or failure for each command, or one failure for all of them."""

_KINDS = (bytes, int, list, Failure, type(None))
_AGGREGATES = b"*~>%|"
_FURTHER_ARRAY = rb"\r\n[*~>%|]\d"
# Two patterns, because patterns that begin with fixed bytes are far faster.
_HUGE_COUNT = rb"[*~>%|]\d{6}"
_HUGE_COUNT_WITHIN = rb"\r\n[*~>%|]\d{6}"
_MAX_DEPTH = 16
"""Arrays within arrays; the replies that this package asks for have three."""
_SHORTEST_ELEMENT = len(b"+\r\n")
_LONGEST_COUNT = 20
_PIECE_SIZE = 2**16
"""hiredis copies what it is fed, and releases what it has parsed. Fed a long body at once, it allocates twice its size,
which the allocator of the C library takes from the system and returns each time."""


def decode_resp2(body: bytes, count: int) -> Decoded:
    """Decode the replies to `count` commands: one after the other, or in one array."""
    if wrong := _structural_error(body):
        raise ValueError(wrong)
    values = _parse(body, count)
    if len(values) == count:
        return values[0] if count == 1 and isinstance(values[0], Failure) else tuple(values)
    if len(values) == 1 and isinstance(values[0], Failure):
        return values[0]
    if len(values) == 1 and isinstance(values[0], list) and len(values[0]) == count:
        return tuple(values[0])
    raise ValueError(f"the RESP2 body has {len(values)} replies to {count} commands")


def _parse(body: bytes, count: int) -> list[Any]:
    # hiredis accepts any callable as replyError; its types say an exception class.
    reader = hiredis.Reader(protocolError=ValueError, replyError=Failure)  # type: ignore[arg-type]
    values: list[Any] = []
    try:
        for start in range(0, len(body), _PIECE_SIZE):
            reader.feed(body, start, min(_PIECE_SIZE, len(body) - start))
            while len(values) < count and (value := reader.gets()) is not False:
                values.append(value)
    except TypeError:
        raise ValueError("the RESP2 body has a map or a set that Python cannot hold") from None
    # By exact type: True is an int, and a RESP3 push is a list.
    if not all(type(value) in _KINDS for value in values):
        raise ValueError("the RESP2 body has a reply of a type that RESP2 does not have")
    if reader.has_data() or not values:
        raise ValueError("the RESP2 body is truncated or has extra bytes")
    return values


def _structural_error(body: bytes) -> str | None:
    """Return what is wrong if a body claims more elements than it can hold, or nests arrays too deeply.

    hiredis would allocate memory for both. The walk over all elements costs as much as hiredis itself, so it is skipped
    if the bytes can hold neither: a list of records has one array, and a six-digit count only if it is long.
    """
    arrays = sum(1 for _ in islice(re.finditer(_FURTHER_ARRAY, body), _MAX_DEPTH))
    is_huge = re.match(_HUGE_COUNT, body) or (arrays and re.search(_HUGE_COUNT_WITHIN, body))
    return _walk(body) if is_huge or arrays == _MAX_DEPTH else None


def _walk(body: bytes) -> str | None:
    """Walk over the elements by their headers; strings are skipped by their length."""
    at, most = 0, len(body) // _SHORTEST_ELEMENT
    missing: list[int] = []  # elements still to come in each open array
    while (end := body.find(b"\r\n", at)) >= 0:
        kind, number = body[at : at + 1], body[at + 1 : end]
        at = end + 2
        if missing:
            missing[-1] -= 1
        if kind in _AGGREGATES or kind in b"$=":
            if not number.removeprefix(b"-").isdigit() or len(number) > _LONGEST_COUNT:
                return "the RESP2 body has an invalid length"
            count = int(number)
            if kind in b"$=":
                at += count + 2 if count >= 0 else 0
            elif count > most:
                return "the RESP2 body claims more elements than it can hold"
            else:
                missing.append(count * (2 if kind in b"%|" else 1))
        while missing and missing[-1] <= 0:
            missing.pop()
        if len(missing) > _MAX_DEPTH:
            return "the RESP2 body is nested too deeply"
    return None


def decode_json(body: bytes, count: int, *, asked_base64: bool) -> Decoded:
    """Decode the replies to `count` commands."""
    entries = _entries(orjson.loads(body), count)
    values = [_value_of(entry) for entry in entries]
    if isinstance(values[0], Failure) and len(values) == 1:
        return values[0]
    in_base64 = asked_base64 and all(map(_is_base64, values))
    return tuple(_with_bytes(value, in_base64=in_base64) for value in values)


def _entries(body: Any, count: int) -> Sequence[Any]:
    if isinstance(body, dict) and (count == 1 or isinstance(body.get("error"), str)):
        return [body]
    if isinstance(body, list) and len(body) == count and count > 1:
        return body
    raise ValueError("the JSON body is not one reply for each command")


def _value_of(entry: Any) -> Any:
    if isinstance(entry, dict) and isinstance(entry.get("error"), str):
        return Failure(entry["error"])
    if isinstance(entry, dict) and "result" in entry:
        return entry["result"]
    raise ValueError('an entry of the JSON body has neither "result" nor "error"')


def _is_base64(value: Any) -> bool:
    """Tell whether all strings of a reply can be base64; stored records, which begin with {, cannot."""
    if isinstance(value, list):
        return all(map(_is_base64, value))
    if not isinstance(value, str) or value == "OK":
        return True
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _with_bytes(value: Any, *, in_base64: bool) -> Any:
    if isinstance(value, str):
        return base64.b64decode(value) if in_base64 and value != "OK" else value.encode()
    if isinstance(value, list):
        return [_with_bytes(item, in_base64=in_base64) for item in value]
    if isinstance(value, float):
        return repr(value).encode()
    if value is None or (isinstance(value, (int, Failure)) and not isinstance(value, bool)):
        return value
    raise ValueError(f"a reply is a JSON {type(value).__name__}")
