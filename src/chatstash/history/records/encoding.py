"""A record's stored form: JSON text.

Written by the standard library's json, as langchain-community writes. orjson and pydantic silently change values: NaN
becomes null, a UUID a string, and so on. orjson writes only records whose data is all text (`encode_text`).
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import NoneType
from typing import Any

import orjson

from chatstash.errors import UnstorableMessage
from chatstash.history.records.record import METADATA, Record, RecordId

# Text that is not escaped takes its UTF-8 size, not up to six bytes a character.
_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_STRICT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_ASCII = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"))
_SORTED = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), sort_keys=True)
MAX_METADATA_BYTES = 64 * 1024

_DEEPEST_SEARCH = 200
_LONGEST_PATH = 400
_STRINGS = {str}
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def encode(record: Record, *, index: int = 0) -> str:
    """Return a record's stored form: text that UTF-8 can encode."""
    if wrong := _why_not_storable(record):
        raise UnstorableMessage(wrong, index=index)
    fields = _fields_of(record)
    try:
        text = _COMPACT.encode(fields)
    except (TypeError, ValueError, RecursionError) as error:
        raise _unstorable_message({**record.other, **record.data}, error, index) from None
    try:
        text.encode()
    except UnicodeEncodeError:
        return _ASCII.encode(fields)  # UTF-8 cannot encode half a surrogate pair; JSON can escape it
    return text


def encode_text(record: Record, record_id: RecordId) -> str | None:
    """Return what `encode` returns of a record with that id, in a third of the time; None if not all of it is text."""
    data = record.data
    if record.other or type(record.type) is not str or type(data) is not dict:
        return None
    # Every JSON library writes plain strings alike.
    if {*map(type, data), *map(type, data.values())} != _STRINGS:
        return None
    try:
        return orjson.dumps({"type": record.type, "data": data, "rid": str(record_id)}).decode()
    except TypeError:
        return None  # half a surrogate pair


def _fields_of(record: Record) -> dict[str, Any]:
    fields: dict[str, Any] = {"type": record.type, "data": record.data}
    if other := record.other:
        fields |= {name: value for name, value in other.items() if name not in fields}
    if (record_id := record.id) is not None:
        # Last: only there it counts as the record's identity.
        fields.pop("rid", None)
        fields["rid"] = str(record_id)
    return fields


def canonical_json(record: Record) -> str:
    """Return ASCII text that is the same for equal records, whatever the order of their fields."""
    fields = {**record.other, "type": record.type, "data": record.data}
    try:
        return _SORTED.encode(fields)
    except TypeError:
        # Keys of different types cannot be sorted.
        return _ASCII.encode(fields)


def encoded_metadata(metadata: object, *, index: int | None = None) -> str:
    """Return an application's own data as JSON text, or raise UnstorableMessage where it cannot be stored.

    NaN and half a surrogate pair cannot: web frameworks refuse to send them on.
    """
    if not isinstance(metadata, Mapping) or not all(isinstance(name, str) for name in metadata):
        raise UnstorableMessage("must be a dict whose keys are strings", index=index, path="metadata")
    try:
        text = _STRICT.encode(dict(metadata))
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise _unstorable_message({"metadata": metadata}, error, index, _is_sendable) from None
    if size > MAX_METADATA_BYTES:
        reason = f"takes {size} bytes as JSON; the limit is {MAX_METADATA_BYTES}"
        raise UnstorableMessage(reason, index=index, path="metadata")
    return text


def with_metadata(records: Iterable[Record], metadata: Mapping[str, Any] | None) -> list[Record]:
    """Return records with an application's own data; raises UnstorableMessage where it cannot be stored."""
    if metadata is None:
        return list(records)
    encoded_metadata(metadata)
    return [replace(record, other={**record.other, METADATA: dict(metadata)}) for record in records]


def _why_not_storable(record: Record) -> str | None:
    """Return why a record could not be read back; None where it could."""
    if not isinstance(record, Record):
        return f"it is a {type(record).__name__}, not a Record"
    if not isinstance(record.type, str) or not isinstance(record.data, dict):
        return "a record's type must be a string and its data a dict"
    if "v" in record.other:
        return "the field 'v' is reserved for newer forms of the record"
    return None


def _unstorable_message(
    data: Mapping[str, Any], error: Exception, index: int | None, may_be_stored: Callable[[Any], bool] | None = None
) -> UnstorableMessage:
    """Return the error for a message that JSON cannot represent; it names the value."""
    path, value = _first_unstorable(data, may_be_stored or _is_storable)
    path = path if len(path) <= _LONGEST_PATH else f"{path[:_LONGEST_PATH]}…"
    if isinstance(error, RecursionError):
        return UnstorableMessage("it is nested too deeply, or contains itself", index=index, path=path)
    if not path:
        return UnstorableMessage(f"JSON cannot hold it ({error})", index=index)
    return UnstorableMessage(
        f"JSON cannot hold a value of type {type(value).__name__} ({error})", index=index, path=path
    )


def _first_unstorable(data: Mapping[str, Any], may_be_stored: Callable[[Any], bool]) -> tuple[str, Any]:
    """Return path and value of the first leaf or key that JSON cannot represent; an empty path where there is none."""
    for name, value in data.items():
        if found := _search(value, name if name.isidentifier() else _SHORT.repr(name), 0, may_be_stored):
            return found
    return "", None


def _search(value: Any, path: str, depth: int, may_be_stored: Callable[[Any], bool]) -> tuple[str, Any] | None:
    if depth > _DEEPEST_SEARCH:
        return path, value
    if not isinstance(value, (dict, list, tuple)):
        return None if may_be_stored(value) else (path, value)
    for step, child in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(value, dict) and not isinstance(step, (str, int, float, bool, NoneType)):
            return f"{path}[{_SHORT.repr(step)}] (the key)", step
        if found := _search(child, f"{path}[{_SHORT.repr(step)}]", depth + 1, may_be_stored):
            return found
    return None


def _is_storable(value: Any) -> bool:
    try:
        _COMPACT.encode(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _is_sendable(value: Any) -> bool:
    try:
        _STRICT.encode(value).encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return True
