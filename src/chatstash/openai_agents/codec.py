"""Converts groups of the SDK's items to records and back. Pure.

A record holds a LangChain message in `type` and `data`, which other readers see, and the items themselves in `items`.
What cannot be a message of its own shares the record of its neighbour, and the parallel calls of one answer share one
record, so that windows keep them together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from chatstash.errors import CorruptRecord, UnstorableMessage
from chatstash.history.codec import Codec
from chatstash.history.records.record import Record
from chatstash.openai_agents.views import Item, items_of, kind_of, view_of

FIELD = "items"
"""The top-level field of a record that holds the items."""


class ItemsCodec(Codec[list[Item]]):
    """The items of a session are groups of the SDK's items."""

    def to_records(self, items: Iterable[list[Item]]) -> list[Record]:
        """Return one record for each group."""
        return [_record_of(group) for group in items]

    def from_record(self, record: Record, *, key: str = "", position: int = 0) -> list[Item]:
        """Return the items of a record; those of a message that another library wrote are made from it."""
        stored = record.other.get(FIELD)
        if stored is None:
            return items_of(record)
        if not isinstance(stored, list) or not all(isinstance(item, dict) for item in stored):
            reason = f"its field {FIELD!r} is not a list of items"
            raise CorruptRecord(reason, key=key, position=position, raw=record.raw)
        return stored

    def without_last(self, record: Record) -> Record | None:
        """Return a record without its last item."""
        items = self.from_record(record)
        if len(items) < 2:
            return None
        kind, data = view_of(items[:-1])
        return replace(record, type=kind, data=data, other={**record.other, FIELD: items[:-1]})


def _record_of(items: Sequence[Item]) -> Record:
    kind, data = view_of(items)
    other: Mapping[str, Any] = {FIELD: list(items)}
    return Record(kind, data, other=other)


def groups_of(items: Iterable[Any]) -> list[list[Item]]:
    """Return items in groups, each of which becomes one record; UnstorableMessage if one is not a dict."""
    groups: list[list[Item]] = []
    waiting: list[Item] = []
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise UnstorableMessage(f"it is a {type(item).__name__}, not a dict", index=index)
        kind = kind_of(item)
        if kind == "other":
            waiting.append(item)
        elif kind == "call" and groups and kind_of(groups[-1][-1]) == "call":
            groups[-1] += [*waiting, item]
            waiting = []
        else:
            groups.append([*waiting, item])
            waiting = []
    if waiting:
        groups = [*groups[:-1], [*groups[-1], *waiting]] if groups else [waiting]
    return groups
