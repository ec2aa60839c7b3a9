"""What reading, appending and clearing give back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from chatstash.history.records import Record, RecordId
from chatstash.rest.commands import Cost

_CURSOR = r"([0-9]{1,9})-([0-9a-f]{40})"


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where reading further back goes on: before the oldest record read. Stays right while others append and trim.

    As text, for a web page to send back: `str(cursor)` and `Cursor.parse`.

    Attributes:
        index: That record's place in the stored list when it was read, 0 for the newest record.
        digest: SHA-1 of its stored form, but for its generation, hexadecimal.
        rid: Its id, or None where another library wrote it, or where the cursor came as text.
    """

    index: int
    digest: str
    rid: RecordId | None = None

    def __str__(self) -> str:
        return f"{self.index}-{self.digest}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Return the cursor that a text stands for.

        Raises:
            ValueError: It stands for none.
        """
        match = re.fullmatch(_CURSOR, text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f"not a cursor: {text!r}")
        return cls(int(match[1]), match[2])


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


class AppendResult(NamedTuple):
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


class ClearResult(NamedTuple):
    """What clearing a conversation did.

    Attributes:
        existed: Whether there was a conversation.
        cost: Requests, commands and bytes.
    """

    existed: bool
    cost: Cost
