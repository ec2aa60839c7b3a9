"""The results of reading, appending and clearing, and the cursor of a page."""

from __future__ import annotations

import re
from typing import Any, Generic, NamedTuple, TypeVar

from chatstash.frozen import dataclass
from chatstash.history.records.record import Record, RecordId
from chatstash.rest.commands import Cost

ItemT = TypeVar("ItemT")

_CURSOR = r"([0-9]{1,9})\.([0-9]{1,9})\.([0-9])-([0-9a-f]{40})-([0-9a-f]{40})"


@dataclass(frozen=True)
class Cursor:
    """The start of the next page: directly before the oldest record that was read.

    It finds its place again while others append, trim, edit and repair, by the id of that record or of the one before
    it. Records of other libraries have no id. If neither has one, both must still be at their places, by their bytes
    and those of their neighbours, or reading raises `ConversationChanged`.

    As text, for a web page to send back: `str(cursor)` and `Cursor.parse`.

    Attributes:
        position: That record's place in the conversation when it was read, 0 for the oldest.
        length: How many records the conversation had then.
        covered: The number of records, starting with that one, whose bytes `digest` covers; 0 if there is an id.
        digest: Hexadecimal SHA-1 of the record's id, or zeros if it has none; with `covered`, of the bytes of the
            record before it and of those covered.
        older: SHA-1 of the id of the record before it; zeros where that has none.
    """

    position: int
    length: int
    covered: int
    digest: str
    older: str

    def __str__(self) -> str:
        return f"{self.position}.{self.length}.{self.covered}-{self.digest}-{self.older}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Return the cursor that a text stands for.

        Raises:
            ValueError: It stands for none.
        """
        match = re.fullmatch(_CURSOR, text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f"not a cursor: {text!r}")
        position, length, covered, digest, older = match.groups()
        return cls(int(position), int(length), int(covered), digest, older)


END = Cursor(0, 0, 0, "0" * 40, "0" * 40)
"""The cursor of a read that returned nothing: the next page begins at the newest record."""


@dataclass(frozen=True)
class ReadResult(Generic[ItemT]):
    """The result of a read.

    Attributes:
        records: The records, oldest first.
        cursor: The start of the next page further back; None if there is nothing older.
        omitted: How many older records of the conversation were left out.
        cost: Requests, commands and bytes of the operation.
        items: The items of the session, oldest first: one for each record. For a session of records, the records.
    """

    records: list[Record]
    cursor: Cursor | None
    omitted: int
    cost: Cost
    items: list[ItemT]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values: the records, which hold all of the items, and the cursor as text."""
        return {
            "records": [record.to_dict() for record in self.records],
            "cursor": None if self.cursor is None else str(self.cursor),
            "omitted": self.omitted,
            "cost": self.cost.to_dict(),
        }


class AppendResult(NamedTuple):
    """The result of an append.

    Attributes:
        length: How many records the conversation has now; None if there was nothing to append and no request was made.
        record_ids: The ids of the appended records, in their order; if `repeated`, of those appended the first time.
        cost: Requests, commands and bytes of the operation.
        repeated: Whether the idempotency key was used before for the same records, so that nothing was stored.
        indexed: Whether the session index lists the conversation now; False if the index could not be updated. None
            without an index, or if nothing was stored.
    """

    length: int | None
    record_ids: list[RecordId]
    cost: Cost = Cost()
    repeated: bool = False
    indexed: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values, the record ids as text."""
        return {**self._asdict(), "record_ids": list(map(str, self.record_ids)), "cost": self.cost.to_dict()}


class ClearResult(NamedTuple):
    """The result of clearing a conversation.

    Attributes:
        existed: Whether there was a conversation.
        cost: Requests, commands and bytes of the operation.
    """

    existed: bool
    cost: Cost = Cost()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {**self._asdict(), "cost": self.cost.to_dict()}


class EditResult(NamedTuple):
    """The result of an edit.

    Attributes:
        removed: How many messages were removed or replaced.
        length: How many records the conversation has now.
        cost: Requests, commands and bytes of the operation.
    """

    removed: int
    length: int
    cost: Cost = Cost()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {**self._asdict(), "cost": self.cost.to_dict()}


class Alternative(NamedTuple, Generic[ItemT]):
    """Messages that were replaced by others, and can be put back with `switch_to`.

    Attributes:
        id: Its id.
        items: The messages, oldest first, without those that cannot be read.
        records: Their records.
        time_ms: When they were put aside, in milliseconds since the epoch, by the writer's clock.
    """

    id: str
    items: list[ItemT]
    records: list[Record]
    time_ms: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values: its records, which hold all of the items."""
        return {"id": self.id, "records": [record.to_dict() for record in self.records], "time_ms": self.time_ms}


class DraftText(NamedTuple):
    """A reply that is being written, or was left unfinished.

    Attributes:
        text: Its text so far.
        time_ms: When it was begun, in milliseconds since the epoch, by the writer's clock.
        cost: Requests, commands and bytes of the operation.
    """

    text: str
    time_ms: int
    cost: Cost = Cost()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {**self._asdict(), "cost": self.cost.to_dict()}
