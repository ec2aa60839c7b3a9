"""The text form of exported conversations: JSON Lines.

A header comes before the records of its conversation:

    {"format":"chatstash-conversation","version":1,"session_id":"s","user_id":null,"title":null,"metadata":{},…}
    {"n":0,"id":"AZNx3k0Qp7Zb1c2d.0/2","time_ms":1790000000123,"time":"2026-09-21T…","record":{"type":"human",…}}
    {"n":1,"id":null,"time_ms":null,"time":null,"raw":"ZGFtYWdlZA=="}

`n` counts the records of a conversation, so missing lines are noticed. `record` has the stored bytes unchanged. Bytes
that are not valid JSON, or that could be broken into several lines, are `raw` in base64.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from chatstash.errors import CorruptRecord, UnreadableRecord
from chatstash.history.records.decoding import record_from_json
from chatstash.history.records.encoding import encode
from chatstash.history.records.record import Entry, Record

FORMAT = "chatstash-conversation"
VERSION = 1

_VERBATIM = re.compile(
    r'\{"n":(\d{1,9}),"id":(?:null|"[A-Za-z0-9_.\-/]+"),"time_ms":(?:null|\d+),"time":(?:null|"[0-9T:.+\-]+"),'
    r'"record":(\{.*\})\}',
    re.DOTALL,
)


class Header(NamedTuple):
    """The line before the records of a conversation. Times are in milliseconds since the epoch; None if unknown."""

    session_id: str
    user_id: str | None = None
    title: str | None = None
    metadata: Mapping[str, Any] = {}
    created_at: int | None = None
    updated_at: int | None = None

    def to_line(self) -> str:
        """Return the line, without its end."""
        return _text({"format": FORMAT, "version": VERSION, **self._asdict(), "metadata": dict(self.metadata)})


class RecordLine(NamedTuple):
    """The line of one record.

    Attributes:
        raw: Its stored bytes.
        number: The number of records before it in its conversation; None if the line does not tell.
    """

    raw: bytes
    number: int | None


def _text(fields: Mapping[str, Any]) -> str:
    # ASCII: other text has characters that some programs take for the end of a line.
    return json.dumps(fields, separators=(",", ":"))


def record_line(number: int, entry: Entry) -> str:
    """Return the line of a record or of the error of an unreadable one, without its end."""
    record = entry if isinstance(entry, Record) else Record("", {})
    time = record.to_dict()
    known = _text({"n": number, "id": time["id"], "time_ms": time["time_ms"], "time": time["time"]})
    raw = entry.raw or encode(record).encode()
    text = _as_json(raw)
    stored = f'"raw":"{base64.b64encode(raw).decode()}"' if text is None else f'"record":{text}'
    return f"{known[:-1]},{stored}}}"


def _as_json(raw: bytes) -> str | None:
    """Return stored bytes as text where they are a JSON object on one line; else None."""
    try:
        orjson.loads(raw)
        text = raw.decode()
    except (orjson.JSONDecodeError, UnicodeDecodeError):
        return None
    return text if text[0] == "{" and text[-1] == "}" and len(text.splitlines()) == 1 else None


def parse_line(line: str) -> Header | RecordLine:
    """Parse a line.

    Raises:
        ValueError: It is no line of this format; the message says why.
    """
    if found := _VERBATIM.fullmatch(line):
        try:
            orjson.loads(found[2])
        except orjson.JSONDecodeError:
            pass  # the record is not the last field
        else:
            return RecordLine(found[2].encode(), int(found[1]))
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not valid JSON ({error})") from None
    if not isinstance(fields, dict):
        raise ValueError(f"it is a JSON {type(fields).__name__}, not an object")
    return _header(fields) if "format" in fields else RecordLine(_raw_of(fields), _number_of(fields))


def _number_of(fields: Mapping[str, Any]) -> int | None:
    number = fields.get("n")
    if number is not None and (not isinstance(number, int) or isinstance(number, bool) or number < 0):
        raise ValueError("n must be a number of 0 or more")
    return number


def _raw_of(fields: dict[str, Any]) -> bytes:
    """Return the bytes of a record, encoded anew where another program changed the line."""
    if isinstance(raw := fields.get("raw"), str):
        try:
            return base64.b64decode(raw, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("raw is not valid base64") from None
    if "record" not in fields:
        raise ValueError("it has neither a record nor raw")
    try:
        return encode(_numbered(record_from_json(fields["record"], b""))).encode()
    except UnreadableRecord as error:
        reason = error.reason if isinstance(error, CorruptRecord) else str(error)
        raise ValueError(f"its record cannot be read: {reason}") from None


def _numbered(record: Record) -> Record:
    """Return a record whose id is parsed, so that it is written last."""
    return Record(record.type, record.data, record.id, record.other)


def _header(fields: Mapping[str, Any]) -> Header:
    if fields["format"] != FORMAT:
        raise ValueError(f"its format is {fields['format']!r:.80}, not {FORMAT!r}")
    if fields.get("version") != VERSION:
        raise ValueError(f"its version is {fields.get('version')!r:.80}; this version of chatstash reads {VERSION}")
    values = {name: fields[name] for name in _TYPES if fields.get(name) is not None}
    for name, value in values.items():
        if not isinstance(value, _TYPES[name]):
            raise ValueError(f"its {name} is a {type(value).__name__}")
    if "session_id" not in values:
        raise ValueError("it has no session_id")
    return Header(**values)


_TYPES: Mapping[str, type] = {
    "session_id": str,
    "user_id": str,
    "title": str,
    "metadata": dict,
    "created_at": int,
    "updated_at": int,
}
