"""What reading, appending and clearing give back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from chatstash.history.records import Record, RecordId
from chatstash.rest.commands import Cost

_CURSOR = r"([0-9]{1,9})\.([0-9]{1,9})\.([0-9])-([0-9a-f]{40})-([0-9a-f]{40})"


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where reading further back goes on: before the oldest record read.

    It finds its place again while others append, trim, edit and repair, by the record's id. A record of another library
    has no id: it is known by its bytes and its neighbours' bytes, and where several fit, reading on raises
    `ConversationChanged`.

    As text, for a web page to send back: `str(cursor)` and `Cursor.parse`.

    Attributes:
        position: That record's place in the conversation when it was read, 0 for the oldest.
        length: How many records the conversation had then.
        newer: How many of the next newer records `digest` covers as well, because the record has no id.
        digest: SHA-1 of the record's identity, hexadecimal.
        older: SHA-1 of the identity of the record before it, where reading goes on if the record itself is removed.
    """

    position: int
    length: int
    newer: int
    digest: str
    older: str

    def __str__(self) -> str:
        return f"{self.position}.{self.length}.{self.newer}-{self.digest}-{self.older}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Return the cursor that a text stands for.

        Raises:
            ValueError: It stands for none.
        """
        match = re.fullmatch(_CURSOR, text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f"not a cursor: {text!r}")
        position, length, newer, digest, older = match.groups()
        return cls(int(position), int(length), int(newer), digest, older)


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
