"""Makes cursors, and tells whether records are still where a cursor saw them.

A record is recognised by its id, or by that of the record before it. Where neither has an id, all records that the
cursor covers must be where they were: others may be equal to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from chatstash.history.records.identity import digest_of, identity
from chatstash.history.records.record import Entry
from chatstash.history.values.results import Cursor

MOST_COVERED = 5
"""How many records identify one without an id: others may be equal to it."""

_NOTHING = "0" * 40
"""In place of a digest: there is no such record, or it has no id."""


class Name(NamedTuple):
    """The name of a record.

    Attributes:
        digest: The SHA-1 of its identity.
        is_id: Whether its identity is an id.
    """

    digest: str
    is_id: bool


def name_of(raw: bytes) -> Name:
    """Return the name of a stored record."""
    found = identity(raw)
    return Name(digest_of(found), found is not raw)


NO_NAME = name_of(b"")


def cursor_before(entries: Sequence[Entry], at: int, length: int) -> Cursor | None:
    """Return the cursor before one of the newest records; None where there is no such record."""
    return cursor_within(entries, at, length - len(entries), length) if at < len(entries) else None


def cursor_within(entries: Sequence[Entry], at: int, first: int, length: int) -> Cursor:
    """Return the cursor before one of some records."""
    raws = [entry.raw for entry in entries[at : at + MOST_COVERED]]
    return cursor_of(name_of(entries[at - 1].raw) if at else NO_NAME, raws, first + at, length)


def cursor_of(older: Name, raws: Sequence[bytes], position: int, length: int) -> Cursor:
    """Return the cursor before the first of some records."""
    name, *_ = names = list(map(name_of, raws[:MOST_COVERED]))
    if name.is_id or older.is_id:
        return Cursor(position, length, 0, _id_digest(name), _id_digest(older))
    return Cursor(position, length, len(names), _digest_of_run([older, *names]), _NOTHING)


def _id_digest(name: Name) -> str:
    return name.digest if name.is_id else _NOTHING


def _digest_of_run(names: Iterable[Name]) -> str:
    return digest_of("".join(name.digest for name in names).encode())


def is_at_its_place(cursor: Cursor, records: Sequence[bytes], at: int, length: int) -> bool:
    """Tell whether the record of a cursor is where it was."""
    if len(records) != at + max(cursor.covered, 1):
        return False
    older, *names = [NO_NAME] * (not at) + list(map(name_of, records[max(at - 1, 0) :]))
    if cursor.covered:
        # Where there are fewer records than before, an equal one may have moved there.
        return length >= cursor.length and _digest_of_run([older, *names]) == cursor.digest
    return names[0] == (cursor.digest, True) or older == (cursor.older, True)


def names_its_place(cursor: Cursor) -> bool:
    """Tell whether both records of a cursor have an id: if neither is found, everything before the cursor is gone."""
    return not cursor.covered and _NOTHING not in (cursor.digest, cursor.older)
