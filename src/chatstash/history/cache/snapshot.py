"""A snapshot of a conversation, and the smallest request that revalidates it. Pure.

A conversation grows at its newest end and is trimmed at its oldest. So what was read once still holds where the newest
record of it that carries an id, the anchor, still stands where it should: byte for byte, and as deep as the newer
records and the length of the conversation say. What is missing was then trimmed from the oldest end, or removed from
the middle; another record, at the far end of what is wanted, tells which. An edit in place changes neither; whoever
makes one counts up the generation, `g`, of the newest record with an id, which is the anchor or newer than it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from chatstash.history.records.generation import can_carry_generation, has_generation

_DEEPEST = 100
"""How many records without an id may be newer than the anchor."""

_TURN, _MOST_USUAL = 2, 20
"""How many newer records to reckon with at least, a question and its answer, and at most."""

_OVERLAP = 2
"""How many records are asked for that are known: the anchor, and one before it."""


class Known(NamedTuple):
    """The newest records of a conversation as they were stored at one moment, up to the anchor.

    Attributes:
        stored: The records, oldest first; the last of them is the anchor.
        length: How many records there were, the anchor included, and those older than `stored`.
        usual: How many newer ones to reckon with.
        appended: How many newer ones there are at least, as far as this process knows.
    """

    stored: Sequence[bytes]
    length: int
    usual: int = 0
    appended: int = 0

    def __repr__(self) -> str:
        return f"Known({len(self.stored)} of {self.length} records)"

    def after_append(self, count: int) -> Known:
        """Return what is known after an append of so many records: the same, and that there are newer ones."""
        return self._replace(appended=self.appended + count)

    def probe(self, reach: int | None) -> Probe | None:
        """Return what to ask for the newest `reach` records, None for all; None where to read them costs as little."""
        if len(self.stored) < (self.length if reach is None else min(self.length, reach)):
            return None
        count = max(self.usual, self.appended) + _OVERLAP
        if 2 * count > min(len(self.stored), reach or len(self.stored)):
            return None
        return Probe(self, count, -1 if reach is None or self.length < reach else reach - 1)


def known_of(stored: Sequence[bytes], length: int, before: Known | None = None) -> Known | None:
    """Return what is known once the newest records were read; None where none of them can be the anchor.

    Args:
        stored: The newest records, oldest first.
        length: How many there are in all.
        before: What was known until then.
    """
    for newer, raw in enumerate(stored[: -_DEEPEST - 1 : -1]):
        if can_carry_generation(raw):
            lately = 0 if before is None else _newer_than(before.stored[-1], stored)
            usual = max(_TURN, min(_MOST_USUAL, lately))
            return Known(stored[: len(stored) - newer], length - newer, newer + usual, newer)
    return None


def _newer_than(anchor: bytes, stored: Sequence[bytes]) -> int:
    """Return how many records are newer than a record; 0 where it is not there."""
    return next((newer for newer, raw in enumerate(reversed(stored)) if raw == anchor), 0)


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """What to ask, all at one moment, to join what is new to what is known.

    Attributes:
        known: What is known.
        count: Of how many of the newest records.
        far: The place of one record more, 0 for the newest, -1 for the oldest.
    """

    known: Known = field(repr=False)
    count: int
    far: int

    def joined(self, newest: Sequence[bytes], length: int, far: object) -> Sequence[bytes] | None:
        """Return the newest records, oldest first, as far back as they are known to be right; None where none are.

        Args:
            newest: The newest records, oldest first.
            length: How many records there are.
            far: The record at the far place; anything else where there is none.
        """
        if len(newest) >= length:
            return newest
        new = self._new_of(newest)
        if new is None or any(map(has_generation, new)):
            return None
        missing = self.known.length + len(new) - length
        records = [*self.known.stored, *new]
        place = len(records) - 1 - (length - 1 if self.far < 0 else self.far)
        if missing < 0 or records[place] != far:
            return None
        if missing == 0:
            return records
        return records[place:] if self._is_only_one(records[place], records) else None

    def _is_only_one(self, far: bytes, records: Sequence[bytes]) -> bool:
        """Tell whether there is no other like it: only then does its place tell that none after it was removed."""
        all_known = len(self.known.stored) == self.known.length
        return (all_known or can_carry_generation(far)) and records.count(far) == 1

    def _new_of(self, newest: Sequence[bytes]) -> Sequence[bytes] | None:
        """Return those after the anchor; None where that, and what is older, is not as it was."""
        stored = self.known.stored
        # The oldest may be a duplicate of the anchor: it would have another record before it.
        for place, raw in enumerate(newest[1:], 1):
            if raw == stored[-1]:
                return newest[place + 1 :] if newest[: place + 1] == stored[-place - 1 :] else None
        return None
