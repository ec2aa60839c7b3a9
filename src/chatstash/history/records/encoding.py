"""A record's stored form: JSON text. Pure.

Written by the standard library's json, as langchain-community writes. orjson and pydantic silently change values: NaN
becomes null, a UUID a string, and so on. orjson writes only records whose data is all text, several times faster.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

from chatstash.errors import UnstorableMessage
from chatstash.history.records.record import Record
from chatstash.history.records.unserializable import COMPACT, unstorable_message

_ASCII = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"))
_SORTED = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), sort_keys=True)


def encode(record: Record, *, index: int = 0) -> str:
    """Return a record's stored form: text that UTF-8 can encode.

    Args:
        record: The record.
        index: The message's index in its sequence, for the error.

    Raises:
        UnstorableMessage: JSON cannot hold one of its values; the error says which.
    """
    if wrong := _why_not_storable(record):
        raise UnstorableMessage(wrong, index=index)
    fields: dict[str, Any] = {"type": record.type, "data": record.data}
    fields |= {name: value for name, value in record.other.items() if name not in fields}
    if record.id is not None:
        # Last: only there it counts as the record's identity.
        fields.pop("rid", None)
        fields["rid"] = str(record.id)
    if not record.other and _is_text(record.data):
        try:
            return orjson.dumps(fields).decode()
        except TypeError:
            pass  # half a surrogate pair, or a subclass of str
    try:
        text = COMPACT.encode(fields)
    except (TypeError, ValueError, RecursionError) as error:
        raise unstorable_message({**record.other, **record.data}, error, index) from None
    # UTF-8 cannot encode half a surrogate pair; JSON can escape it.
    return text if text.isascii() or _is_utf8(text) else _ASCII.encode(fields)


def _is_text(data: Mapping[str, Any]) -> bool:
    """Tell whether all keys and values are plain strings, which every JSON library writes alike."""
    return type(data) is dict and set(map(type, data)) == set(map(type, data.values())) == {str}


def canonical_json(record: Record) -> str:
    """Return ASCII text that is the same for equal records, whatever the order of their fields."""
    fields = {**record.other, "type": record.type, "data": record.data}
    try:
        return _SORTED.encode(fields)
    except TypeError:
        # Keys of different types cannot be sorted.
        return _ASCII.encode(fields)


def _why_not_storable(record: Record) -> str | None:
    """Return why a record could not be read back; None where it could."""
    if not isinstance(record, Record):
        return f"it is a {type(record).__name__}, not a Record"
    if not isinstance(record.type, str) or not isinstance(record.data, dict):
        return "a record's type must be a string and its data a dict"
    if "v" in record.other:
        return "the field 'v' is reserved for newer forms of the record"
    return None


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
