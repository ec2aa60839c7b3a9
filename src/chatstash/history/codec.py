"""What the items of a session are, and how they become records and are read back."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import count, repeat
from operator import is_
from typing import Any, Generic, TypeVar

from chatstash.errors import CorruptRecord, UnreadableRecord, UnstorableMessage
from chatstash.history.operations.contents import Contents, Entries
from chatstash.history.records.record import Entry, Record
from chatstash.history.tool_calls.view import apply_view
from chatstash.history.values.options import OnCorrupt, StartOn
from chatstash.history.values.results import ReadResult

ItemT = TypeVar("ItemT")

PLACEHOLDER_TEXT = "[A message that could not be read.]"

_log = logging.getLogger("chatstash")


class Codec(ABC, Generic[ItemT]):
    """Converts the items of a session to records and back; for `Store.session_with` and adapters to frameworks.

    The records must have LangChain's types and data (`human`, `ai`, `system`, `tool`, …): windows, tool calls, the
    doctor and other readers know only these. Each item is one record.

    Example:
        ```python
        from chatstash import Codec, CorruptRecord, Record, Store

        TYPES = {"user": "human", "assistant": "ai", "system": "system"}
        ROLES = {kind: role for role, kind in TYPES.items()}


        class Dicts(Codec[dict]):
            def to_records(self, items):
                return [Record(TYPES[item["role"]], {"content": item["content"]}) for item in items]

            def from_record(self, record, *, key="", position=0):
                if record.type not in ROLES:
                    raise CorruptRecord(f"no role for {record.type}", key=key, position=position, raw=record.raw)
                return {"role": ROLES[record.type], "content": record.data["content"]}


        with Store() as store:
            session = store.session_with(Dicts(), "user-42")
            session.append([{"role": "user", "content": "Hello"}])
            print(session.read().items)
        ```
    """

    @abstractmethod
    def to_records(self, items: Iterable[ItemT]) -> list[Record]:
        """Return the records of items, without record ids.

        Raises:
            UnstorableMessage: An item cannot be stored; says which.
        """

    @abstractmethod
    def from_record(self, record: Record, *, key: str = "", position: int = 0) -> ItemT:
        """Return the item of a record.

        Args:
            record: The record.
            key: The conversation's key, for the error.
            position: The record's place in the conversation, 0 for the oldest, for the error.

        Raises:
            CorruptRecord: The record holds no item.
        """

    def from_entries(
        self, entries: Sequence[Entry], key: str, positions: Iterable[int]
    ) -> list[ItemT | UnreadableRecord]:
        """Return the item of each record, or the error of a record that cannot be read."""
        return [self._from_entry(entry, key, position) for entry, position in zip(entries, positions, strict=False)]

    def _from_entry(self, entry: Entry, key: str, position: int) -> ItemT | UnreadableRecord:
        if isinstance(entry, UnreadableRecord):
            return entry
        try:
            return self.from_record(entry, key=key, position=position)
        except CorruptRecord as error:
            return error

    def from_text(self, text: str) -> ItemT:
        """Return the item of a model's reply that is given as text, for drafts.

        Raises:
            ValueError: The codec knows no such item, which is the default.
        """
        raise ValueError(
            f"{type(self).__name__} does not say how to make an item of text; {len(text)} characters given"
        )

    def without_last(self, record: Record) -> Record | None:  # noqa: ARG002
        """Return what remains of a record when its last part is popped; None, the default, if nothing does."""
        return None

    def type_names(self, start_on: StartOn) -> StartOn:
        """Return the names of record types; a codec of classes names the types each class stands for."""
        return start_on


class JsonCodec(Codec[ItemT]):
    """A codec that can make items directly from parsed JSON, which is faster than from records."""

    @abstractmethod
    def from_json(self, parsed: list[Any]) -> list[ItemT | None]:
        """Return the item of each parsed record; None where it must be made from the record. Consumes the list."""


class RecordCodec(Codec[Record]):
    """The items of a session are its records."""

    def to_records(self, items: Iterable[Record]) -> list[Record]:
        """Return the records as a list."""
        if isinstance(items, (Record, str, bytes, dict)) or not isinstance(items, Iterable):
            raise UnstorableMessage(f"append takes a list of records, not {type(items).__name__}", index=None)
        return list(items)

    def from_record(self, record: Record, *, key: str = "", position: int = 0) -> Record:  # noqa: ARG002
        """Return the record."""
        return record

    def from_text(self, text: str) -> Record:
        """Return the record of a model's reply."""
        return Record("ai", {"content": text})

    def from_entries(
        self,
        entries: Sequence[Entry],
        key: str,  # noqa: ARG002
        positions: Iterable[int],  # noqa: ARG002
    ) -> list[Record | UnreadableRecord]:
        """Return the entries as a list."""
        return list(entries)


def items_of(contents: Contents, codec: Codec[ItemT], key: str, on_corrupt: OnCorrupt) -> list[ItemT]:
    """Return the items of a read without their records, which takes half the time; raises as `read_result`."""
    entries = contents.entries
    if isinstance(codec, JsonCodec) and isinstance(entries, Entries) and (parsed := entries.take_parsed()) is not None:
        with suppress(UnreadableRecord):
            made = codec.from_json(parsed)
            if not any(map(is_, made, repeat(None))):
                return made  # type: ignore[return-value]
            return [_item(codec, entries[place]) if item is None else item for place, item in enumerate(made)]
    return read_result(contents, codec, key, on_corrupt).items


def _item(codec: Codec[ItemT], entry: Entry) -> ItemT:
    if isinstance(entry, UnreadableRecord):
        raise entry
    return codec.from_record(entry)


def read_result(contents: Contents, codec: Codec[ItemT], key: str, on_corrupt: OnCorrupt) -> ReadResult[ItemT]:
    """Return the result of a read."""
    entries = list(contents.entries)
    items = codec.from_entries(entries, key, contents.positions)
    if errors := [item for item in items if isinstance(item, UnreadableRecord)]:
        if on_corrupt == "raise":
            raise _first_of(errors, entries, items)
        entries, items = _without_errors(contents, codec, (entries, items), on_corrupt)
    return ReadResult(entries, contents.cursor, contents.omitted, contents.cost, items)  # type: ignore[arg-type]


def readable_items(records: Sequence[Record], codec: Codec[ItemT], key: str) -> list[ItemT]:
    """Return the items of records, without those that cannot be read."""
    return [item for item in codec.from_entries(records, key, count()) if not isinstance(item, UnreadableRecord)]


def placeholder_record(error: UnreadableRecord) -> Record:
    """Return the placeholder of an unreadable record: a human message that says so.

    Providers accept a human message anywhere except between a tool call and its result (see `_paired_again`). Some
    refuse a system message that is not the first.
    """
    return Record("human", {"content": PLACEHOLDER_TEXT}, other={"unreadable": error.reason}, raw=error.raw)


def _first_of(
    errors: Sequence[UnreadableRecord], entries: Sequence[Entry], items: Sequence[object]
) -> UnreadableRecord:
    """Return the first error, with the others and all that can be read."""
    readable = [
        (entry, item) for entry, item in zip(entries, items, strict=True) if not isinstance(item, UnreadableRecord)
    ]
    first = errors[0]
    first.further = tuple(errors[1:])
    first.records = [entry for entry, _ in readable]
    first.messages = [item for _, item in readable]
    return first


def _without_errors(
    contents: Contents,
    codec: Codec[ItemT],
    read: tuple[list[Entry], list[ItemT | UnreadableRecord]],
    on_corrupt: OnCorrupt,
) -> tuple[list[Entry], list[ItemT | UnreadableRecord]]:
    """Return the records and items of a read, without the unreadable ones or with their placeholders."""
    records: list[Record] = []
    items: dict[int, ItemT] = {}
    for entry, item in zip(*read, strict=True):
        record: Entry | None = entry
        if isinstance(item, UnreadableRecord):
            _log.warning("%s %s", item, "It was left out." if on_corrupt == "skip" else "A placeholder was returned.")
            record = None if on_corrupt == "skip" else placeholder_record(item)
        if isinstance(record, Record):
            records.append(record)
            items[id(record)] = codec.from_record(record) if isinstance(item, UnreadableRecord) else item
    kept = _paired_again(records, contents)
    return list(kept), [items[id(record)] if id(record) in items else codec.from_record(record) for record in kept]


def _paired_again(records: Sequence[Record], contents: Contents) -> list[Record]:
    """Return records in the view of their read again: an unreadable one may have been a call or a result."""
    view = contents.view._replace(tool_calls=contents.view.tool_calls or "paired")
    system = 1 if contents.system_kept else 0
    viewed = apply_view(records[system:], view).entries
    return [*records[:system], *(record for record in viewed if isinstance(record, Record))]
