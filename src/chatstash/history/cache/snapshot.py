"""A snapshot of a conversation, and the smallest request that revalidates it.

A conversation grows at its newest end and is trimmed at its oldest. So a snapshot is still valid if its newest record,
the anchor, stands where it should: byte for byte, and as deep as the newer records and the length of the conversation
say. If records are missing, they were trimmed from the oldest end or removed from the middle. The record at the far end
of what is wanted tells which.

An edit in place changes neither. Whoever edits must increase the generation, `g`, of the newest record with an id: the
anchor, or a newer record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import NamedTuple

from chatstash.frozen import dataclass
from chatstash.history.records.generation import has_generation
from chatstash.history.records.identity import has_id

_DEEPEST = 100
"""How many records without an id may be newer than the anchor."""

_TURN, _MOST_EXPECTED = 2, 20
"""The least and the most newer records to expect; a question and its answer are two."""

_OVERLAP = 2
"""How many cached records are asked for again: the anchor, and the one before it."""


class Snapshot(NamedTuple):
    """The newest records of a conversation as they were stored at one moment, up to the anchor.

    Attributes:
        stored: The records, oldest first; the last of them is the anchor.
        length: The number of records in the conversation, up to and including the anchor.
        expected: How many newer records to expect.
        appended: How many newer records this process has appended since.
    """

    stored: Sequence[bytes]
    length: int
    expected: int = 0
    appended: int = 0

    def __repr__(self) -> str:
        return f"Snapshot({len(self.stored)} of {self.length} records)"

    def after_append(self, count: int) -> Snapshot:
        """Return the snapshot after this process has appended `count` records."""
        return self._replace(appended=self.appended + count)

    def revalidation(self, reach: int | None) -> Revalidation | None:
        """Return the check for the newest `reach` records, or all; None if a plain read would cost no more."""
        if len(self.stored) < (self.length if reach is None else min(self.length, reach)):
            return None
        count = max(self.expected, self.appended) + _OVERLAP
        if 2 * count > min(len(self.stored), reach or len(self.stored)):
            return None
        return Revalidation(self, count, -1 if reach is None or self.length < reach else reach - 1)


def take_snapshot(stored: Sequence[bytes], length: int, previous: Snapshot | None = None) -> Snapshot | None:
    """Return a snapshot of the newest records; None where none of them can be the anchor."""
    for newer, raw in enumerate(stored[: -_DEEPEST - 1 : -1]):
        if has_id(raw):
            grown = 0 if previous is None else _newer_than(previous.stored[-1], stored)
            expected = newer + max(_TURN, min(_MOST_EXPECTED, grown))
            return Snapshot(stored[: len(stored) - newer], length - newer, expected, newer)
    return None


def _newer_than(anchor: bytes, stored: Sequence[bytes]) -> int:
    """Return how many records are newer than `anchor`; 0 where it is not among them."""
    return next((newer for newer, raw in enumerate(reversed(stored)) if raw == anchor), 0)


@dataclass(frozen=True)
class Revalidation:
    """What to ask for, all in one transaction, to bring a snapshot up to date.

    Attributes:
        snapshot: The snapshot.
        count: How many of the newest records to ask for.
        far: The index of one more record, 0 for the newest, -1 for the oldest.
    """

    snapshot: Snapshot = field(repr=False)
    count: int
    far: int

    def merge(self, newest: Sequence[bytes], length: int, far: object) -> Sequence[bytes] | None:
        """Return the newest records, oldest first, as far back as they are certain; None if the snapshot is stale."""
        if len(newest) >= length:
            return newest
        new = self._newer_than_anchor(newest)
        if new is None or any(map(has_generation, new)):
            return None
        missing = self.snapshot.length + len(new) - length
        records = [*self.snapshot.stored, *new]
        place = len(records) - 1 - (length - 1 if self.far < 0 else self.far)
        if missing < 0 or records[place] != far:
            return None
        if missing == 0:
            return records
        return records[place:] if self._is_unique(records[place], records) else None

    def _is_unique(self, far: bytes, records: Sequence[bytes]) -> bool:
        """Tell whether no other record equals `far`: only then its place proves that none after it was removed."""
        is_whole = len(self.snapshot.stored) == self.snapshot.length
        return (is_whole or has_id(far)) and records.count(far) == 1

    def _newer_than_anchor(self, newest: Sequence[bytes]) -> Sequence[bytes] | None:
        """Return the records after the anchor; None where the anchor or a record before it has changed."""
        stored = self.snapshot.stored
        # The oldest may be a duplicate of the anchor: it would have another record before it.
        for place, raw in enumerate(newest[1:], 1):
            if raw == stored[-1]:
                return newest[place + 1 :] if newest[: place + 1] == stored[-place - 1 :] else None
        return None
