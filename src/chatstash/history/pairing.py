"""Which result belongs to which tool call. Pure.

Every provider wants each result directly after its call, once, and none without a call; in parallel calls the order of
the results is free. Ids are unique only within an AI record: some models number their calls anew in each turn, so a
result belongs to the nearest call before it that has its id and no result yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from chatstash.history.records import Record
from chatstash.history.tool_calls import STAND_IN, Call, CallKey, Result, calls_of, is_only_results, results_of

Entry: TypeAlias = Record | None
"""A record, or None for one that cannot be looked into: it may be a call as well as a result."""


class Place(NamedTuple):
    """Where a result is: the index of its record, and that of its content block, or None for the whole record."""

    record: int
    block: int | None


@dataclass(slots=True, eq=False)
class Slot:
    """The place of one call's result.

    Attributes:
        asked: The index of the AI record.
        call: The call.
        answer: Where its result is, or None.
        after: The index of the record after which a result belongs: the call, or the last tool record directly after
            it.
        apart: Whether the result is not directly after the call.
    """

    asked: int
    call: Call
    answer: Place | None = None
    after: int = 0
    apart: bool = False


@dataclass(slots=True)
class Pairing:
    """What was found.

    Attributes:
        without_call: Results that have no call.
        replaced: Stand-ins whose result arrived after all.
        slots: The places of all results, in the order of their calls.
        unjudged: The indices of AI records whose results may be in a record that cannot be looked into.
    """

    without_call: list[Place] = field(default_factory=list)
    replaced: list[int] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)
    unjudged: set[int] = field(default_factory=set)

    @property
    def missing(self) -> list[Slot]:
        """The calls that want a result and have none, in their order."""
        return [
            slot
            for slot in self.slots
            if slot.answer is None and slot.call.wants_result and slot.asked not in self.unjudged
        ]


def pair(entries: Sequence[Entry]) -> Pairing:
    """Pair calls with results.

    Args:
        entries: The conversation, oldest first.
    """
    pairs = _Pairs()
    for index, record in enumerate(entries):
        if record is None:
            pairs.take_unknown()
        elif results := results_of(record):
            pairs.take_results(index, record, results)
        else:
            pairs.take_other(index, record)
    return pairs.found


def waiting(entries: Sequence[Entry]) -> int | None:
    """Return the index of the record at the end whose tools may still be at work: all after it are results."""
    index = len(entries) - 1
    while index >= 0 and (record := entries[index]) is not None and is_only_results(record):
        index -= 1
    return index if index >= 0 else None


class _Pairs:
    def __init__(self) -> None:
        self.found = Pairing()
        self._slots: dict[CallKey, list[Slot]] = {}
        self._block: list[Slot] = []
        """The calls of the AI record directly after which results are being read."""
        self._stand_ins: set[int] = set()
        self._after_unknown = False

    def take_unknown(self) -> None:
        self.found.unjudged.update(slot.asked for slot in self._block)
        self._block, self._after_unknown = [], True

    def take_other(self, index: int, record: Record) -> None:
        self._block = [Slot(index, call, after=index) for call in calls_of(record)]
        self._after_unknown = False
        self.found.slots += self._block
        for slot in self._block:
            self._slots.setdefault(slot.call.key, []).append(slot)

    def take_results(self, index: int, record: Record, results: Sequence[Result]) -> None:
        if STAND_IN in record.other:
            self._stand_ins.add(index)
        places = [(result.key, Place(index, result.block)) for result in results]
        is_whole_record = places[0][1].block is None
        filled = [self._take(key, place) for key, place in places]
        if is_whole_record and any(filled) and self._block:
            for slot in self._block:
                slot.after = index
        if is_only_results(record):
            return
        # What a person says beside results ends them.
        self._block, self._after_unknown = [], False

    def _take(self, key: CallKey | None, place: Place) -> bool:
        """Find the call of a result; tells whether it is directly after its call."""
        slots = self._slots.get(key, []) if key is not None else []
        slot = next((slot for slot in reversed(slots) if slot.answer is None), None) or self._stand_in(slots, place)
        if slot is None:
            if not self._after_unknown:
                self.found.without_call.append(place)
            return False
        if slot.answer is not None:
            self.found.replaced.append(slot.answer.record)
        slot.answer, slot.apart = place, slot not in self._block
        return not slot.apart

    def _stand_in(self, slots: Sequence[Slot], place: Place) -> Slot | None:
        """Return the place that a stand-in holds and this result, directly after it, should have."""
        if place.record in self._stand_ins:
            return None
        stood_in = (slot for slot in slots if slot in self._block and slot.answer is not None)
        return next((slot for slot in stood_in if slot.answer and slot.answer.record in self._stand_ins), None)
