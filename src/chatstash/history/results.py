"""What reading, appending and clearing give back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from chatstash.history.records.record import Record, RecordId
from chatstash.rest.commands import Cost

_CURSOR = r"([0-9]{1,9})\.([0-9]{1,9})\.([0-9])-([0-9a-f]{40})-([0-9a-f]{40})"


@dataclass(frozen=True, slots=True)
class Cursor:
    """The start of the next page: directly before the oldest record that was read.

    It finds its place again while others append, trim, edit and repair, by the id of that record or of the one before
    it. Records of other libraries have no id. If neither has one, both must still be at their places, by their bytes
    and those of their neighbours, or reading raises `ConversationChanged`.

    As text, for a web page to send back: `str(cursor)` and `Cursor.parse`.

    Attributes:
        position: That record's place in the conversation when it was read, 0 for the oldest.
        length: How many records the conversation had then.
        covered: 0 where one of the two has an id; else of how many records, from that one on, `digest` covers the
            bytes.
        digest: SHA-1 of the record's id, hexadecimal, or of the bytes of the record before it and of those covered;
            zeros where only the other has an id.
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
"""Where reading further back begins at the newest record, for a read that gave none."""


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
        record_ids: The ids of the records appended, in their order; of those appended before where it is `repeated`.
        cost: Requests, commands and bytes.
        repeated: Whether the idempotency key had been used before, for the same records: nothing was stored anew.
    """

    length: int | None
    record_ids: list[RecordId]
    cost: Cost = Cost()
    repeated: bool = False


class ClearResult(NamedTuple):
    """What clearing a conversation did.

    Attributes:
        existed: Whether there was a conversation.
        cost: Requests, commands and bytes.
    """

    existed: bool
    cost: Cost = Cost()
