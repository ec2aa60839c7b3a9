"""Names of messages: the record id, the message's own id, or the bytes of the record."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from chatstash.history.records.identity import identity
from chatstash.history.records.record import Entry, Record, RecordId
from chatstash.rest.plan import utf8

MessageId: TypeAlias = str | RecordId | Record


class Named(NamedTuple):
    """The name of a record.

    Attributes:
        by: How scripts find it: `r`, by its id; `m`, by the id that a framework gave the message; `b`, by its bytes.
        text: The id or the bytes.
        id: What the caller gave.
    """

    by: str
    text: str
    id: str | RecordId | None

    @property
    def words(self) -> tuple[str, str]:
        """The arguments of a script."""
        return self.by, self.text


def named(message_id: MessageId) -> Named:
    """Return the name of a record, or raise ValueError."""
    if isinstance(message_id, Record):
        return _of_record(message_id)
    if isinstance(message_id, RecordId):
        return Named("r", str(message_id), message_id)
    if not isinstance(message_id, str) or not message_id:
        given = (
            repr(message_id)
            if isinstance(message_id, str | int | None)
            else f"a value of type {type(message_id).__name__}"
        )
        raise ValueError(f"the id of a message must be a non-empty string, a RecordId, or a Record, not {given}")
    return Named("m" if RecordId.parse(message_id) is None else "r", utf8(message_id, "id").decode(), message_id)


def _of_record(record: Record) -> Named:
    if record.id is not None:
        return Named("r", str(record.id), record.id)
    if not record.raw:
        raise ValueError("this record was not read from a conversation: pass a record that `records()` returned")
    try:
        return Named("b", record.raw.decode(), None)
    except UnicodeDecodeError:
        raise ValueError("a record that is not UTF-8 cannot be named in a request: run `chatstash doctor`") from None


def is_named(entry: Entry, wanted: Named) -> bool:
    """Tell whether a record is the one that is named, as the scripts do."""
    if wanted.by == "r":
        return identity(entry.raw) == wanted.text.encode() and entry.raw != wanted.text.encode()
    if wanted.by == "m":
        return isinstance(entry, Record) and entry.data.get("id") == wanted.text
    return entry.raw == wanted.text.encode()
