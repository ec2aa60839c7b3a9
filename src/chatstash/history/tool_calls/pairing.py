"""Which result belongs to which tool call. Pure.

Every provider wants each result directly after its call, once, and none without a call; in parallel calls the order of
the results is free. Ids are unique only within an AI record: some models number their calls anew in each turn, so a
result belongs to the nearest call before it that has its id and no result yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from chatstash.history.records.record import Record
from chatstash.history.tool_calls.formats import STAND_IN, Call, CallKey, Result, calls_of, is_only_results, results_of

Known: TypeAlias = Record | None
"""A record, or None for one that cannot be looked into: it may be a call as well as a result."""


class Place(NamedTuple):
    """Where a result is: the index of its record, and that of its content block, or None for the whole record."""

    record: int
    block: int | None


@dataclass(slots=True, eq=False)
class Group:
    """The calls of one AI record.

    Attributes:
        asked: The index of the record.
        after: The index of the record after which a result belongs: the call, or the last tool record directly after
            it.
        slots: The places of their results.
    """

    asked: int
    after: int
    slots: dict[CallKey, Slot] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Slot:
    """The place of one call's result.

    Attributes:
        group: The calls of the same record.
        call: The call.
        answer: Where its result is, or None.
        apart: Whether the result is not directly after the call.
    """

    group: Group
    call: Call
    answer: Place | None = None
    apart: bool = False

    @property
    def asked(self) -> int:
        """The index of the AI record."""
        return self.group.asked

    @property
    def after(self) -> int:
        """The index of the record after which a result belongs."""
        return self.group.after


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


def pair(entries: Sequence[Known]) -> Pairing:
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


def waiting(entries: Sequence[Known]) -> int | None:
    """Return the index of the record at the end whose tools may still be at work: all after it are results."""
    index = len(entries) - 1
    while index >= 0 and (record := entries[index]) is not None and is_only_results(record):
        index -= 1
    return index if index >= 0 else None


class _Pairs:
    """Takes records one by one; each step takes the same time, however many calls there are."""

    def __init__(self) -> None:
        self.found = Pairing()
        self._open: dict[CallKey, list[Slot]] = {}
        self._group: Group | None = None
        """The calls directly after which results are being read."""
        self._stand_ins: set[int] = set()
        self._after_unknown = False

    def take_unknown(self) -> None:
        if self._group is not None:
            self.found.unjudged.add(self._group.asked)
        self._group, self._after_unknown = None, True

    def take_other(self, index: int, record: Record) -> None:
        self._group, self._after_unknown = Group(index, index), False
        for call in calls_of(record):
            slot = self._group.slots[call.key] = Slot(self._group, call)
            self._open.setdefault(call.key, []).append(slot)
            self.found.slots.append(slot)

    def take_results(self, index: int, record: Record, results: Sequence[Result]) -> None:
        """Pair the results of a record with the calls that are open."""
        if STAND_IN in record.other:
            self._stand_ins.add(index)
        in_place = [self._take(result.key, Place(index, result.block)) for result in results]
        if self._group is not None and results[0].block is None and any(in_place):
            self._group.after = index
        if not is_only_results(record):
            # What a person says beside results ends them.
            self._group, self._after_unknown = None, False

    def _take(self, key: CallKey | None, place: Place) -> bool:
        """Find the call of a result; tells whether it is directly after its call."""
        unanswered = None if key is None else self._open.get(key)
        slot = unanswered.pop() if unanswered else self._held_by_stand_in(key, place)
        if slot is None:
            if not self._after_unknown:
                self.found.without_call.append(place)
            return False
        if slot.answer is not None:
            self.found.replaced.append(slot.answer.record)
        slot.answer, slot.apart = place, slot.group is not self._group
        return not slot.apart

    def _held_by_stand_in(self, key: CallKey | None, place: Place) -> Slot | None:
        """Return the place that a stand-in holds and this result, directly after it, should have."""
        if key is None or self._group is None or place.record in self._stand_ins:
            return None
        slot = self._group.slots.get(key)
        holds = slot is not None and slot.answer is not None and slot.answer.record in self._stand_ins
        return slot if holds else None
