"""Which result belongs to which tool call.

Every provider requires each result directly after its call, once, and none without a call. The results of parallel
calls may come in any order. Ids are unique only within an AI record: some models restart their numbering in each turn.
So a result belongs to the nearest earlier call that has its id and no result yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from chatstash.history.records.record import Record
from chatstash.history.tool_calls.formats import STAND_IN, Call, CallKey, Result, calls_of, is_only_results, results_of


class Place(NamedTuple):
    """Where a result is: the index of its record, and that of its content block, or None for the whole record."""

    record: int
    block: int | None


class CallGroup:
    """The calls of one AI record.

    Attributes:
        call_index: The index of the record.
        insert_after: The index of the record after which a result belongs: the call, or the last tool record directly
            after it.
        slots: The slots of their results.
    """

    __slots__ = ("call_index", "insert_after", "slots")

    def __init__(self, call_index: int, insert_after: int) -> None:
        self.call_index = call_index
        self.insert_after = insert_after
        self.slots: dict[CallKey, Slot] = {}


class Slot:
    """The slot of one call's result.

    Attributes:
        group: The calls of the same record.
        call: The call.
        result: Where its result is, or None.
        is_misplaced: Whether the result is not directly after the call.
    """

    __slots__ = ("call", "group", "is_misplaced", "result")

    def __init__(self, group: CallGroup, call: Call) -> None:
        self.group = group
        self.call = call
        self.result: Place | None = None
        self.is_misplaced = False

    @property
    def call_index(self) -> int:
        """The index of the AI record."""
        return self.group.call_index

    @property
    def insert_after(self) -> int:
        """The index of the record after which a result belongs."""
        return self.group.insert_after


class Pairing:
    """Which results belong to which calls.

    Attributes:
        orphans: Results without a call.
        replaced: The indices of stand-ins whose result arrived later.
        slots: The slots of all results, in the order of their calls.
        undecided: The indices of AI records whose results may be in a record that cannot be read.
    """

    def __init__(self) -> None:
        self.orphans: list[Place] = []
        self.replaced: list[int] = []
        self.slots: list[Slot] = []
        self.undecided: set[int] = set()

    @property
    def missing(self) -> list[Slot]:
        """The slots of calls that require a result and have none, in their order."""
        return [
            slot
            for slot in self.slots
            if slot.result is None and slot.call.requires_result and slot.call_index not in self.undecided
        ]


def pair(entries: Sequence[Record | None]) -> Pairing:
    """Pair calls with results."""
    pairer = _Pairer()
    for index, record in enumerate(entries):
        if record is None:
            pairer.skip_unreadable()
        elif results := results_of(record):
            pairer.add_results(index, record, results)
        else:
            pairer.add_calls(index, record)
    return pairer.found


def pending_index(entries: Sequence[Record | None]) -> int | None:
    """Return the index of the last record that is not only results: its tools may still be running."""
    index = len(entries) - 1
    while index >= 0 and (record := entries[index]) is not None and is_only_results(record):
        index -= 1
    return index if index >= 0 else None


class _Pairer:
    """Pairs records one by one; a step takes the same time however many calls there are."""

    def __init__(self) -> None:
        self.found = Pairing()
        self._open: dict[CallKey, list[Slot]] = {}
        self._group: CallGroup | None = None
        """The calls whose results may follow directly."""
        self._stand_ins: set[int] = set()
        self._after_unreadable = False

    def skip_unreadable(self) -> None:
        if self._group is not None:
            self.found.undecided.add(self._group.call_index)
        self._group, self._after_unreadable = None, True

    def add_calls(self, index: int, record: Record) -> None:
        self._group, self._after_unreadable = CallGroup(index, index), False
        for call in calls_of(record):
            slot = self._group.slots[call.key] = Slot(self._group, call)
            self._open.setdefault(call.key, []).append(slot)
            self.found.slots.append(slot)

    def add_results(self, index: int, record: Record, results: Sequence[Result]) -> None:
        """Pair the results of a record with the calls that are open."""
        if STAND_IN in record.other:
            self._stand_ins.add(index)
        in_place = [self._fill(result.key, Place(index, result.block)) for result in results]
        if self._group is not None and results[0].block is None and any(in_place):
            self._group.insert_after = index
        if not is_only_results(record):
            # Text of a person ends the results.
            self._group, self._after_unreadable = None, False

    def _fill(self, key: CallKey | None, place: Place) -> bool:
        """Fill the slot of a result; tells whether the result is directly after its call."""
        unanswered = None if key is None else self._open.get(key)
        slot = unanswered.pop() if unanswered else self._filled_by_stand_in(key, place)
        if slot is None:
            if not self._after_unreadable:
                self.found.orphans.append(place)
            return False
        if slot.result is not None:
            self.found.replaced.append(slot.result.record)
        slot.result, slot.is_misplaced = place, slot.group is not self._group
        return not slot.is_misplaced

    def _filled_by_stand_in(self, key: CallKey | None, place: Place) -> Slot | None:
        """Return the slot that a stand-in fills and that this result, which follows it directly, should fill."""
        if key is None or self._group is None or place.record in self._stand_ins:
            return None
        slot = self._group.slots.get(key)
        is_filled = slot is not None and slot.result is not None and slot.result.record in self._stand_ins
        return slot if is_filled else None
