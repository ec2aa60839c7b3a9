"""Records as every provider accepts them: each tool call directly followed by its result, no result alone. Pure.

Nothing of this is stored. A result further on moves to its call, and a result without a call is left out. A call
without a result gets the stand-in that the doctor inserts; if none is possible, the call is left out and the rest of
its message stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from chatstash.history.records.message_types import HUMAN_TYPES
from chatstash.history.records.record import Entry, Record
from chatstash.history.tool_calls.formats import (
    CallKey,
    is_empty,
    may_hold_calls_or_results,
    results_of,
    stand_in,
    with_content,
    without_blocks,
    without_calls,
)
from chatstash.history.tool_calls.pairing import Pairing, Slot, pair, waiting

_UNREADABLE = Record("", {})
"""Stands for a record that cannot be read, which a model is not given."""


class Paired(NamedTuple):
    """The records to return, and for each the index of the one that it stands at.

    Attributes:
        entries: The records.
        places: The indices, which never run backwards.
    """

    entries: list[Entry]
    places: Sequence[int]

    def left_out_of(self, count: int) -> int:
        """Return how many of the oldest of so many records were left out."""
        return self.places[0] if self.places else count


def paired(entries: Sequence[Entry], *, last_waits: bool) -> Paired:
    """Return records with calls and results in pairs; those that need no change are the same objects.

    Args:
        entries: The newest records of a conversation, or some of them, oldest first.
        last_waits: Whether the calls of the last AI record may go unanswered, for their tools may be at work.
    """
    records = [entry if isinstance(entry, Record) else _UNREADABLE for entry in entries]
    if not any(map(may_hold_calls_or_results, records)):
        return Paired(list(entries), range(len(entries)))
    changes = _Changes(records, waiting(records) if last_waits else None)
    given: list[Entry] = []
    places: list[int] = []
    for index, entry in enumerate(entries):
        kept = changes.kept(index, entry) if isinstance(entry, Record) else entry
        here = [*([] if kept is None else [kept]), *changes.inserted.get(index, ())]
        given += here
        places += [index] * len(here)
    return Paired(given, places)


class _Changes:
    """What is to be changed, by the index of the record."""

    def __init__(self, records: Sequence[Record], waits: int | None) -> None:
        self.inserted: defaultdict[int, list[Record]] = defaultdict(list)
        self._records = records
        self._gone: set[int] = set()
        self._gone_blocks: defaultdict[int, set[int]] = defaultdict(set)
        self._gone_calls: defaultdict[int, list[CallKey]] = defaultdict(list)
        found = pair(records)
        self._leave_out(found)
        for slot in found.slots:
            if slot.answer is None and slot.asked != waits:
                self._answer(slot)
            elif slot.apart:
                self._move(slot)

    def _leave_out(self, found: Pairing) -> None:
        self._gone.update(found.replaced)
        answers = {slot.answer.record for slot in found.slots if slot.answer is not None}
        for place in found.without_call:
            if place.block is not None:
                self._gone_blocks[place.record].add(place.block)
            elif place.record not in answers:
                self._gone.add(place.record)

    def _answer(self, slot: Slot) -> None:
        if slot.call.wants_result:
            self.inserted[slot.after].append(stand_in(slot.call))
        else:
            self._gone_calls[slot.asked].append(slot.call.key)

    def _move(self, slot: Slot) -> None:
        assert slot.answer is not None
        index, block = slot.answer
        if index in self._gone:
            return
        record = self._records[index]
        if block is None or record.type not in HUMAN_TYPES:
            self._gone.add(index)
            self.inserted[slot.after].append(record)
        else:
            self._gone_blocks[index].add(block)
            self.inserted[slot.after].append(with_content(record, [record.data["content"][block]]))

    def kept(self, index: int, record: Record) -> Record | None:
        """Return what is given of a record, None for nothing."""
        if index in self._gone:
            return None
        if calls := self._gone_calls.get(index):
            record = without_calls(record, calls)
            return None if is_empty(record) else record
        if blocks := self._gone_blocks.get(index):
            record = without_blocks(record, blocks)
            if not record.data["content"]:
                return None
        return _results_first(record) if record.type in HUMAN_TYPES else record


def _results_first(record: Record) -> Record:
    """Return a human record with its results before what it says beside them, as Anthropic demands.

    https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/implement-tool-use#handling-tool-use-and-tool-result-content-blocks
    """
    places = [result.block for result in results_of(record) if result.block is not None]
    if places == list(range(len(places))):
        return record
    content, results = record.data["content"], set(places)
    others = [block for place, block in enumerate(content) if place not in results]
    return with_content(record, [*(content[place] for place in places), *others])
