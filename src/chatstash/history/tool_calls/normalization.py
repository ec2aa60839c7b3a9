"""Records as every provider accepts them: each tool call directly followed by its result, no result alone.

Nothing of this is stored. A misplaced result moves to its call, and a result without a call is left out. A call without
a result gets the stand-in that the doctor inserts. If none is possible, the call is left out and the rest of its
message stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from chatstash.history.records.message_types import HUMAN_TYPES
from chatstash.history.records.record import Entry, Record
from chatstash.history.tool_calls.editing import is_empty, stand_in, with_content, without_blocks, without_calls
from chatstash.history.tool_calls.formats import CallKey, may_hold_calls_or_results, results_of
from chatstash.history.tool_calls.pairing import Pairing, Slot, pair, pending_index

_UNREADABLE = Record("", {})
"""Takes the place of a record that cannot be read: it holds no call and no result."""


class Normalized(NamedTuple):
    """The records to return.

    Attributes:
        entries: The records.
        indices: For each, the index of the given record whose place it takes; in ascending order.
    """

    entries: list[Entry]
    indices: Sequence[int]

    def omitted_from(self, count: int) -> int:
        """Return how many of the oldest of `count` given records were left out."""
        return self.indices[0] if self.indices else count


def normalize(entries: Sequence[Entry], *, allow_pending: bool) -> Normalized:
    """Return records with calls and results in pairs; those that need no change are the same objects."""
    records = [entry if isinstance(entry, Record) else _UNREADABLE for entry in entries]
    if not any(map(may_hold_calls_or_results, records)):
        return Normalized(list(entries), range(len(entries)))
    changes = _Changes(records, pending_index(records) if allow_pending else None)
    kept: list[Entry] = []
    indices: list[int] = []
    for index, entry in enumerate(entries):
        changed = changes.apply(index, entry) if isinstance(entry, Record) else entry
        here = [*([] if changed is None else [changed]), *changes.inserted.get(index, ())]
        kept += here
        indices += [index] * len(here)
    return Normalized(kept, indices)


class _Changes:
    """The changes to make, by the index of the record."""

    def __init__(self, records: Sequence[Record], pending: int | None) -> None:
        self.inserted: defaultdict[int, list[Record]] = defaultdict(list)
        self._records = records
        self._removed: set[int] = set()
        self._removed_blocks: defaultdict[int, set[int]] = defaultdict(set)
        self._removed_calls: defaultdict[int, list[CallKey]] = defaultdict(list)
        found = pair(records)
        self._leave_out(found)
        for slot in found.slots:
            if slot.result is None and slot.call_index != pending:
                self._add_result(slot)
            elif slot.is_misplaced:
                self._move(slot)

    def _leave_out(self, found: Pairing) -> None:
        self._removed.update(found.replaced)
        results = {slot.result.record for slot in found.slots if slot.result is not None}
        for place in found.orphans:
            if place.block is not None:
                self._removed_blocks[place.record].add(place.block)
            elif place.record not in results:
                self._removed.add(place.record)

    def _add_result(self, slot: Slot) -> None:
        if slot.call.requires_result:
            self.inserted[slot.insert_after].append(stand_in(slot.call))
        else:
            self._removed_calls[slot.call_index].append(slot.call.key)

    def _move(self, slot: Slot) -> None:
        assert slot.result is not None
        index, block = slot.result
        if index in self._removed:
            return
        record = self._records[index]
        if block is None or record.type not in HUMAN_TYPES:
            self._removed.add(index)
            self.inserted[slot.insert_after].append(record)
        else:
            self._removed_blocks[index].add(block)
            self.inserted[slot.insert_after].append(with_content(record, [record.data["content"][block]]))

    def apply(self, index: int, record: Record) -> Record | None:
        """Return a record with its changes; None where it is left out."""
        if index in self._removed:
            return None
        if calls := self._removed_calls.get(index):
            record = without_calls(record, calls)
            return None if is_empty(record) else record
        if blocks := self._removed_blocks.get(index):
            record = without_blocks(record, blocks)
            if not record.data["content"]:
                return None
        return _results_first(record) if record.type in HUMAN_TYPES else record


def _results_first(record: Record) -> Record:
    """Return a human record with its results before its other content, as Anthropic requires.

    https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/implement-tool-use#handling-tool-use-and-tool-result-content-blocks
    """
    places = [result.block for result in results_of(record) if result.block is not None]
    if places == list(range(len(places))):
        return record
    content, results = record.data["content"], set(places)
    others = [block for place, block in enumerate(content) if place not in results]
    return with_content(record, [*(content[place] for place in places), *others])
