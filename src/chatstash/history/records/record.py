"""The stored record of one message, and its id: values.

A record is stored as the JSON object `{"type": …, "data": {…}, "rid": "…"}`. `type` and `data` are what
langchain-community writes; `rid` is the record's id. Old readers ignore fields they do not know. Records without an id,
written by old libraries, are first-class. Further top-level fields are kept as they are.
"""

from __future__ import annotations

import base64
import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from chatstash.errors import UnreadableRecord

_RECORD_ID = re.compile(r"([A-Za-z0-9_-]{16})\.(\d{1,9})/(\d{1,9})", re.ASCII)
_TIME_BYTES = 6
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_LAST_MS = 253_402_300_799_999  # the last millisecond of the year 9999
METADATA = "metadata"
"""The top-level field that has the application's own data."""

RANDOM_BYTES = 6
"""The number of random bytes in the id of a batch."""


class RecordId(NamedTuple):
    """The id of a record, such as `AZNx3k0Qp7Zb1c2d.0/2`.

    Attributes:
        batch: 16 characters of base64url that all records of one append share: 48 bits of milliseconds since the
            epoch, then 48 random bits. Never derived from content.
        position: The record's place in the append, from 0.
        size: The number of records in the append.
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
        """Return the id that `text` stands for; None where it is no id of chatstash."""
        match = _RECORD_ID.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            return None
        batch, position, size = match.groups()
        return cls(batch, int(position), int(size))


def new_record_ids(count: int, *, time_ms: int, randomness: bytes) -> list[RecordId]:
    """Return new ids for an append of `count` records."""
    return record_ids_in_batch(new_batch(time_ms=time_ms, randomness=randomness), count)


def new_batch(*, time_ms: int, randomness: bytes) -> str:
    """Return a new name for the records of one append, given the time in milliseconds since the epoch."""
    return base64.urlsafe_b64encode(time_ms.to_bytes(_TIME_BYTES) + randomness).decode()


def record_ids_in_batch(batch: str, count: int) -> list[RecordId]:
    """Return the ids of the `count` records in a batch."""
    return [RecordId(batch, position, count) for position in range(count)]


# Not frozen: a frozen dataclass takes four times as long to create.
@dataclass(slots=True)
class Record:
    """One stored message. Do not change it; make another with `dataclasses.replace`.

    Attributes:
        type: The message's type, such as `human` or `ai`.
        data: Its fields as JSON; those with default values may be left out.
        id: Its id, or None where another library wrote it.
        other: Further top-level fields, kept as they were read.
        raw: The stored bytes it was read from; empty for a new record. Not compared.
    """

    type: str
    data: Mapping[str, Any]
    id: RecordId | None = None
    other: Mapping[str, Any] = field(default_factory=dict)
    raw: bytes = field(default=b"", repr=False, compare=False)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The application's own data that it was appended with; empty where there is none."""
        metadata = self.other.get(METADATA)
        return metadata if isinstance(metadata, dict) else {}

    @property
    def time_ms(self) -> int | None:
        """When it was written, in milliseconds since the epoch by the writer's clock; None without an id."""
        return None if self.id is None else self.id.time_ms

    @property
    def time(self) -> dt.datetime | None:
        """When it was written, as an aware datetime in UTC; None without an id or after the year 9999."""
        if self.id is None or self.id.time_ms > _LAST_MS:
            return None
        return _EPOCH + dt.timedelta(milliseconds=self.id.time_ms)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values: `type`, `data`, `id`, `time_ms`, `time` in ISO 8601, `metadata` and `other`.

        `id` and times are None for a record without an id. The values of `data` and `other` are shared with the record.
        """
        time = self.time
        return {
            "type": self.type,
            "data": dict(self.data),
            "id": None if self.id is None else str(self.id),
            "time_ms": self.time_ms,
            "time": None if time is None else time.isoformat(timespec="milliseconds"),
            "metadata": dict(self.metadata),
            "other": {name: value for name, value in self.other.items() if name != METADATA},
        }


# Parsing the id takes half the time of reading a record, and most readers do not ask for it. So it is parsed when `id`
# or `other` is first used; until then it is one of the other fields.
NOT_PARSED: Any = object()
_id_slot: Any = vars(Record)["id"]
_other_slot: Any = vars(Record)["other"]


def _parse_id(record: Record) -> None:
    fields = _other_slot.__get__(record)
    record_id = RecordId.parse(fields.get("rid"))
    # In this order: another thread that finds no id among the fields must find that it was parsed.
    if _id_slot.__get__(record) is NOT_PARSED:
        _id_slot.__set__(record, record_id)
    if record_id is not None:
        fields.pop("rid", None)


def _parsed_first(slot: Any, doc: str) -> Any:
    def get(record: Record) -> Any:
        if _id_slot.__get__(record) is NOT_PARSED:
            _parse_id(record)
        return slot.__get__(record)

    return property(get, slot.__set__, doc=doc)


Record.id = _parsed_first(_id_slot, "Its id, or None where another library wrote it.")  # type: ignore[misc]
Record.other = _parsed_first(_other_slot, "Further top-level fields, kept as they were read.")  # type: ignore[misc]


Entry: TypeAlias = Record | UnreadableRecord
"""A stored record as it is read: the record, or the error if it cannot be read."""
