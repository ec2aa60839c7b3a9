"""The records of a conversation as an operation read them, decoded when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, count
from typing import Any, NamedTuple

from chatstash.errors import UnreadableRecord
from chatstash.history.records.decoding import decode, record_from_json
from chatstash.history.records.record import Entry, Record
from chatstash.history.steps.fetch import Fetched
from chatstash.history.tool_calls.view import AS_STORED, View
from chatstash.history.values.results import Cursor
from chatstash.rest.commands import Cost

_MOST_COMPARED = 10
"""How many records without an id, as old libraries write them, tell whether a conversation has changed."""


class Contents(NamedTuple):
    """The entries of a conversation, readable or not.

    Attributes:
        entries: Each record, or the error of one that cannot be read, oldest first, without duplicates.
        length: How many records are stored.
        stored: The raw newest records, or all, oldest first.
        cost: Requests, commands and bytes; the driver sets it when the operation ends.
        omitted: How many older records of the conversation were left out.
        cursor: Where to continue further back; None where there is nothing older.
        fetched: The fetch behind it, for the cache; None if it must not be cached.
        system_kept: Whether the first of the entries is the conversation's system message, and records after it were
            left out.
        view: How the records are returned.
    """

    entries: Sequence[Entry]
    length: int
    stored: Sequence[bytes]
    cost: Cost = Cost()
    omitted: int = 0
    cursor: Cursor | None = None
    fetched: Fetched | None = None
    system_kept: bool = False
    view: View = AS_STORED

    def __repr__(self) -> str:
        return f"Contents({len(self.entries)} of {self.length} records)"

    @property
    def positions(self) -> Iterator[int]:
        """The place of each entry in the conversation, 0 for the oldest record."""
        return chain((0,), count(self.omitted + 1)) if self.system_kept else count(self.omitted)

    @property
    def newest(self) -> list[bytes]:
        """The raw records that tell whether it has changed: newest first, up to one with an id; at most ten."""
        newest: list[bytes] = []
        for raw in self.stored[: -_MOST_COMPARED - 1 : -1]:
            newest.append(raw)
            (entry,) = entries_of([raw], "")
            if isinstance(entry, Record) and entry.id is not None:
                break
        return newest


class Entries(Sequence[Entry]):
    """The records of a whole conversation, or the errors of those that cannot be read; made on demand.

    Records are made on demand and not kept; most callers build messages from the JSON.
    """

    def __init__(self, stored: Sequence[bytes], key: str, parsed: list[Any]) -> None:
        self._stored = stored
        self._key = key
        self._parsed: list[Any] | None = parsed

    def take_parsed(self) -> list[Any] | None:
        """Return the JSON of all records, only once: the caller makes it part of its messages."""
        parsed, self._parsed = self._parsed, None
        return parsed

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return entries_of(self._stored, self._key)[index]
        return _entry(self._stored[index], self._key, range(len(self._stored))[index])

    def __iter__(self) -> Iterator[Entry]:
        parsed = self.take_parsed()
        for position, raw in enumerate(self._stored):
            try:
                if parsed is None:
                    yield decode(raw, key=self._key, position=position)
                else:
                    yield record_from_json(parsed[position], raw, key=self._key, position=position)
            except UnreadableRecord as error:
                yield error


def entries_of(stored: Sequence[bytes], key: str, first: int = 0) -> list[Entry]:
    """Return the record of each stored form, oldest first, or the error of one that cannot be read."""
    return [_entry(raw, key, position) for position, raw in enumerate(stored, first)]


def _entry(raw: bytes, key: str, position: int) -> Entry:
    try:
        return decode(raw, key=key, position=position)
    except UnreadableRecord as error:
        return error
