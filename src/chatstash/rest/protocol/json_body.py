"""Decodes JSON bodies, with base64 strings or plain ones."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import orjson

from chatstash.rest.protocol.decoded import Decoded, Failure


def decode_json(body: bytes, count: int, *, asked_base64: bool) -> Decoded:
    """Decode the replies to `count` commands.

    Args:
        body: The HTTP body.
        count: How many commands the request had.
        asked_base64: Whether the request asked for base64. A proxy may ignore that.

    Raises:
        ValueError: The body does not hold one reply for each command.
    """
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
