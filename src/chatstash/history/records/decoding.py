"""The records that stored bytes stand for.

Read by orjson, except where it would silently change a value (an integer beyond 64 bits) or refuses one that json reads
(NaN, half a surrogate pair).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import orjson

from chatstash.errors import CorruptRecord, UnsupportedRecord
from chatstash.history.records.record import NOT_PARSED, Record

_DIGIT = re.compile(rb"\d")
_LONG_NUMBER = re.compile(rb"\d{19}")


def decode(raw: bytes, *, key: str = "", position: int = 0) -> Record:
    """Return the record that stored bytes stand for."""
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError:
        fields = _loaded_by_json(raw, key, position)
    return record_from_json(fields, raw, key=key, position=position)


def parse_all(stored: Iterable[bytes]) -> list[Any] | None:
    """Return stored records as JSON, long numbers as floats; None where orjson refuses one of them."""
    try:
        return [orjson.loads(raw) for raw in stored]
    except orjson.JSONDecodeError:
        return None


def record_from_json(fields: Any, raw: bytes, *, key: str = "", position: int = 0) -> Record:
    """Return the record of stored bytes as `decode` does, given their JSON; the JSON becomes part of the record."""
    if not _is_usual(fields):
        fields = _checked(fields, raw, key, position)
    return Record(fields.pop("type"), fields.pop("data"), NOT_PARSED, fields, raw)


def have_distinct_ids(fields: Iterable[Any]) -> bool:
    """Tell quickly whether no two records, given as JSON, have the same id; False when in doubt."""
    try:
        ids = [each.get("rid") for each in fields]
    except AttributeError:
        return False
    if None in ids:
        ids = [text for text in ids if text is not None]
    return {*map(type, ids)} <= {str} and len(set(ids)) == len(ids)


def _is_usual(fields: Any) -> bool:
    """Tell quickly whether it is a record whose values are text or empty; False when in doubt."""
    try:
        kind, values = fields["type"], fields["data"].values()
    except (AttributeError, LookupError, TypeError):
        return False
    for value in values:
        if value and type(value) is not str:
            return False
    return type(kind) is str and (len(fields) == 2 or (len(fields) == 3 and type(fields.get("rid")) is str))


def _checked(fields: Any, raw: bytes, key: str, position: int) -> dict[str, Any]:
    """Return the fields of a record, with long numbers as stored: orjson turns them into floats."""
    if _may_hold_long_number(raw):
        fields = _loaded_by_json(raw, key, position)
    # Checked first: a newer form may lack type and data.
    if type(fields) is dict and "v" in fields:
        raise UnsupportedRecord(fields["v"], key=key, position=position, raw=raw)
    if type(fields) is not dict or type(fields.get("type")) is not str or type(fields.get("data")) is not dict:
        raise CorruptRecord(_why_no_record(fields), key=key, position=position, raw=raw)
    return fields


def _loaded_by_json(raw: bytes, key: str, position: int) -> Any:
    """Read what orjson refuses. The standard library reads some of it, such as NaN, and so did the old class."""
    try:
        return json.loads(raw.decode())
    except (ValueError, RecursionError) as error:
        raise CorruptRecord(_why_not_json(error), key=key, position=position, raw=raw) from None


def _why_not_json(error: ValueError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    # Python's own message would quote a byte.
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 (byte {error.start})"
    return f"it is not JSON ({error})"


def _may_hold_long_number(raw: bytes) -> bool:
    # A run of 19 digits covers one of every 19 places: usually a look at those is enough.
    return bool(_DIGIT.search(raw[18::19])) and bool(_LONG_NUMBER.search(raw))


def _why_no_record(fields: Any) -> str:
    if not isinstance(fields, dict):
        return f"it is a JSON {_json_name(fields)}, not an object"
    if "type" not in fields or "data" not in fields:
        return f"it has no {'data' if 'type' in fields else 'type'}"
    if not isinstance(fields["type"], str):
        return f"its type is a JSON {_json_name(fields['type'])}, not a string"
    return f"its data is a JSON {_json_name(fields['data'])}, not an object"


def _json_name(value: Any) -> str:
    names = {str: "string", list: "array", dict: "object", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")
