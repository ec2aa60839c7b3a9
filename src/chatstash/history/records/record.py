"""The stored record of one message: bytes <-> `Record`. Pure.

A record is the JSON object `{"type": …, "data": {…}, "rid": "…"}`. `type` and `data` are what langchain-community
writes; `rid` is the record's id. Old readers ignore what they do not know, and records without an id, written by old
libraries, are first-class. Further top-level fields are kept as they are.

Written by the standard library's json, as langchain-community writes: orjson and pydantic silently turn NaN into
null, a UUID or a set into something else, and so on; orjson writes what is text alone, several times faster. Read by
orjson, except where it would silently change a value (an integer beyond 64 bits) or refuses one that json reads (NaN,
half a surrogate pair).
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import orjson

from chatstash.errors import CorruptRecord, UnreadableRecord, UnstorableMessage, UnsupportedRecord
from chatstash.history.records.unserializable import COMPACT, unstorable

_RECORD_ID = re.compile(r"([A-Za-z0-9_-]{16})\.(\d{1,9})/(\d{1,9})", re.ASCII)
_DIGIT = re.compile(rb"\d")
_LONG_NUMBER = re.compile(rb"\d{19}")
_TIME_BYTES = 6
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_LAST_MS = 253_402_300_799_999  # the last millisecond of the year 9999
_new_tuple = tuple.__new__
RANDOM_BYTES = 6
"""How many random bytes the id of a batch holds."""


class RecordId(NamedTuple):
    """The identity of a record, as in `AZNx3k0Qp7Zb1c2d.0/2`.

    Attributes:
        batch: 16 characters of base64url that all records of one append share: 48 bits of milliseconds since the
            epoch, then 48 random bits. Never derived from content.
        position: The record's place in the append, from 0.
        size: How many records the append had.
    """

    batch: str
    position: int
    size: int

    def __str__(self) -> str:
        return f"{self.batch}.{self.position}/{self.size}"

    @property
    def time_ms(self) -> int:
        """When the record was written, in milliseconds since the epoch, by the writer's clock."""
        return int.from_bytes(base64.urlsafe_b64decode(self.batch)[:_TIME_BYTES])

    @classmethod
    def parse(cls, text: object) -> RecordId | None:
        """Return the id that `text` stands for, or None where it is none of chatstash's."""
        match = _RECORD_ID.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            return None
        batch, position, size = match.groups()
        # A conversation has one for every record: the constructor of a named tuple takes twice as long as tuple's.
        return _new_tuple(cls, (batch, int(position), int(size)))


def record_ids(count: int, *, time_ms: int, randomness: bytes) -> list[RecordId]:
    """Return the ids of an append of `count` records.

    Args:
        count: How many records the append has.
        time_ms: Now, in milliseconds since the epoch.
        randomness: `RANDOM_BYTES` random bytes.
    """
    batch = base64.urlsafe_b64encode(time_ms.to_bytes(_TIME_BYTES) + randomness).decode()
    return record_ids_of(batch, count)


def record_ids_of(batch: str, count: int) -> list[RecordId]:
    """Return the ids of the `count` records of one append."""
    return [RecordId(batch, position, count) for position in range(count)]


# Not frozen: a conversation has one for every message, and a frozen one takes four times as long to make.
@dataclass(slots=True)
class Record:
    """One stored message. It is not meant to be changed; `dataclasses.replace` makes another.

    Attributes:
        type: The message's type, such as `human` or `ai`.
        data: Its fields, as JSON holds them. Those with default values may be left out.
        id: Its id, or None where another library wrote it.
        other: Further top-level fields, kept as they were read.
        raw: The stored bytes it was read from; empty for a record that was not read. Not compared.
    """

    type: str
    data: Mapping[str, Any]
    id: RecordId | None = None
    other: Mapping[str, Any] = field(default_factory=dict)
    raw: bytes = field(default=b"", repr=False, compare=False)

    @property
    def time_ms(self) -> int | None:
        """When it was written, in milliseconds since the epoch by the writer's clock; None where not known."""
        return None if self.id is None else self.id.time_ms

    @property
    def time(self) -> dt.datetime | None:
        """When it was written, as an aware datetime in UTC; None where not known, or after the year 9999."""
        if self.id is None or self.id.time_ms > _LAST_MS:
            return None
        return _EPOCH + dt.timedelta(milliseconds=self.id.time_ms)


# Parsing an id takes as long as all else of reading a record, so it is put off until somebody asks for it. Until then
# it is among the other fields.
_NOT_PARSED: Any = object()
_id_slot: Any = vars(Record)["id"]
_other_slot: Any = vars(Record)["other"]


def _id_of(record: Record) -> RecordId | None:
    """Return its id, or None where another library wrote it."""
    _parse_id(record)
    return _id_slot.__get__(record)  # type: ignore[no-any-return]


def _other_of(record: Record) -> Mapping[str, Any]:
    """Return its further top-level fields, kept as they were read."""
    _parse_id(record)
    return _other_slot.__get__(record)  # type: ignore[no-any-return]


def _parse_id(record: Record) -> None:
    if _id_slot.__get__(record) is not _NOT_PARSED:
        return
    fields = _other_slot.__get__(record)
    rid = RecordId.parse(fields.get("rid"))
    # In this order: another thread that finds no id among the fields finds that it was parsed.
    if _id_slot.__get__(record) is _NOT_PARSED:
        _id_slot.__set__(record, rid)
    if rid is not None:
        fields.pop("rid", None)


Record.id = property(_id_of, _id_slot.__set__)  # type: ignore[assignment,misc]
Record.other = property(_other_of, _other_slot.__set__)  # type: ignore[assignment,misc]


# ensure_ascii is off: text then takes its UTF-8 size, and not up to six bytes a character.
_ASCII = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"))
_SORTED = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), sort_keys=True)


def encode(record: Record, *, index: int = 0) -> str:
    """Return a record's stored form, as text that can be encoded in UTF-8.

    Args:
        record: The record.
        index: The message's index in the sequence it came in, for the error.

    Raises:
        UnstorableMessage: JSON cannot hold a value of it; says which.
    """
    if wrong := _what_cannot_be_stored(record):
        raise UnstorableMessage(wrong, index=index)
    fields: dict[str, Any] = {"type": record.type, "data": record.data}
    fields |= {name: value for name, value in record.other.items() if name not in fields}
    if record.id is not None:
        # Last, where it is the record's identity.
        fields.pop("rid", None)
        fields["rid"] = str(record.id)
    if not record.other and _is_text(record.data):
        try:
            return orjson.dumps(fields).decode()
        except TypeError:
            pass  # half a surrogate pair, or a string of a class of its own
    try:
        text = COMPACT.encode(fields)
    except (TypeError, ValueError, RecursionError) as error:
        raise unstorable({**record.other, **record.data}, error, index) from None
    # Half a surrogate pair has no UTF-8 form, but an escaped one in JSON.
    return text if text.isascii() or _is_utf8(text) else _ASCII.encode(fields)


def _is_text(data: Mapping[str, Any]) -> bool:
    """Tell whether all is plain strings: what any JSON library writes alike."""
    return type(data) is dict and set(map(type, data)) == set(map(type, data.values())) == {str}


def encode_sorted(record: Record) -> str:
    """Return what is the same for equal records that `encode` takes, in whatever order their fields are; ASCII."""
    fields = {**record.other, "type": record.type, "data": record.data}
    try:
        return _SORTED.encode(fields)
    except TypeError:
        # Numbers and strings among the keys of one dict have no order.
        return _ASCII.encode(fields)


def _what_cannot_be_stored(record: Record) -> str | None:
    """Return why a record could not be read back, or None."""
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


Entry: TypeAlias = Record | UnreadableRecord
"""A stored record as it is read: the record, or the error of one that cannot be read."""


def decode(raw: bytes, *, key: str = "", position: int = 0) -> Record:
    """Return the record that stored bytes stand for.

    Args:
        raw: The stored bytes.
        key: The conversation's key, for the error.
        position: The record's place in the conversation, 0 for the oldest, for the error.

    Raises:
        CorruptRecord: The bytes are not a record.
        UnsupportedRecord: The record is of a newer form.
    """
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError:
        fields = _loaded_by_json(raw, key, position)
    return record_of(fields, raw, key=key, position=position)


def parsed(stored: Iterable[bytes]) -> list[Any] | None:
    """Return the JSON of stored records, with floats for long numbers; None where orjson does not read one of them."""
    try:
        return [orjson.loads(raw) for raw in stored]
    except orjson.JSONDecodeError:
        return None


def record_of(fields: Any, raw: bytes, *, key: str = "", position: int = 0) -> Record:
    """Return the record of stored bytes as `decode` does, given its JSON, which becomes part of the record."""
    if not _is_usual(fields):
        fields = _checked(fields, raw, key, position)
    return Record(fields.pop("type"), fields.pop("data"), _NOT_PARSED, fields, raw)


def have_distinct_ids(fields: Iterable[Any]) -> bool:
    """Tell at a glance that no two records, given their JSON, have the same id; False where it is not sure."""
    try:
        ids = [each.get("rid") for each in fields]
    except AttributeError:
        return False
    if None in ids:
        ids = [text for text in ids if text is not None]
    return {*map(type, ids)} <= {str} and len(set(ids)) == len(ids)


def _is_usual(fields: Any) -> bool:
    """Tell at a glance that it is a record whose data is texts and what is empty; False where it is not sure."""
    try:
        kind, values = fields["type"], fields["data"].values()
    except (AttributeError, LookupError, TypeError):
        return False
    for value in values:
        if value and type(value) is not str:
            return False
    return type(kind) is str and (len(fields) == 2 or (len(fields) == 3 and type(fields.get("rid")) is str))


def _checked(fields: Any, raw: bytes, key: str, position: int) -> dict[str, Any]:
    """Return the fields of a record, with its long numbers as they are stored: orjson makes floats of them."""
    if _may_hold_a_long_number(raw):
        fields = _loaded_by_json(raw, key, position)
    # First: a newer form may have neither type nor data.
    if type(fields) is dict and "v" in fields:
        raise UnsupportedRecord(fields["v"], key=key, position=position, raw=raw)
    if type(fields) is not dict or type(fields.get("type")) is not str or type(fields.get("data")) is not dict:
        raise CorruptRecord(_what_is_wrong(fields), key=key, position=position, raw=raw)
    return fields


def _loaded_by_json(raw: bytes, key: str, position: int) -> Any:
    """Read what orjson refuses: some of it, such as NaN, the standard library reads, as the old class did."""
    try:
        return json.loads(raw.decode())
    except (ValueError, RecursionError) as error:
        raise CorruptRecord(_why_not_json(error), key=key, position=position, raw=raw) from None


def _why_not_json(error: ValueError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    # What Python says of it quotes a byte.
    return (
        f"it is not UTF-8 (byte {error.start})"
        if isinstance(error, UnicodeDecodeError)
        else f"it is not JSON ({error})"
    )


def _may_hold_a_long_number(raw: bytes) -> bool:
    # A run of 19 digits covers one of every 19 places: mostly it is enough to look at those.
    return bool(_DIGIT.search(raw[18::19])) and bool(_LONG_NUMBER.search(raw))


def _what_is_wrong(fields: Any) -> str:
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
