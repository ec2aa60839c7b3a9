"""What reading, appending and clearing give back."""

from __future__ import annotations

from dataclasses import dataclass

from chatstash.history.records import Record, RecordId
from chatstash.rest.commands import Cost


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where reading further back would go on: before the oldest record read.

    Attributes:
        rid: That record's id, or None where another library wrote it.
        index: Its place in the stored list, 0 for the newest record.
    """

    rid: RecordId | None
    index: int


@dataclass(frozen=True)
class ReadResult:
    """Records of a conversation, and what reading them cost.

    Attributes:
        records: The records, oldest first.
        cursor: Where reading further back would go on; None where there is nothing older.
        omitted: How many older records of the conversation were left out.
        cost: Requests, commands and bytes.
    """

    records: list[Record]
    cursor: Cursor | None
    omitted: int
    cost: Cost


@dataclass(frozen=True, slots=True)
class AppendResult:
    """What an append did.

    Attributes:
        length: How many records the conversation has now; None where there was nothing to append, for then nothing
            was asked.
        rids: The ids of the records appended, in their order; of those appended before where it is `repeated`.
        cost: Requests, commands and bytes.
        repeated: Whether the idempotency key had been used before, for the same records: nothing was stored anew.
    """

    length: int | None
    rids: list[RecordId]
    cost: Cost
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class ClearResult:
    """What clearing a conversation did.

    Attributes:
        existed: Whether there was a conversation.
        cost: Requests, commands and bytes.
    """

    existed: bool
    cost: Cost
