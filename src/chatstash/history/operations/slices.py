"""Reads a conversation slice by slice, from the oldest record on, in bounded memory. Changes nothing.

Counted from the oldest, places do not move while others append. Each slice repeats the last record of the one before
it. If that is not at its place, others trimmed or removed older records, and it is looked for among the places before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from chatstash.errors import ConversationChanged, RequestTooLarge
from chatstash.history.records.identity import has_id, identity
from chatstash.history.steps.chunks import oldest_first
from chatstash.history.steps.requests import list_command
from chatstash.rest.commands import Effect
from chatstash.rest.ops import Op

_FIRST_SIZE = 256
_MOST_SIZE = 4096
_WANTED_BYTES = 2**20
"""About how many bytes a slice has, unless one record is larger."""


class SlicePlace(NamedTuple):
    """Where a slice begins.

    Attributes:
        first: The place of its first record, 0 for the oldest.
        size: How many records it has, at most.
        before: The stored record before it; None at the beginning.
    """

    first: int = 0
    size: int = _FIRST_SIZE
    before: bytes | None = None


class Slice(NamedTuple):
    """Records next to each other.

    Attributes:
        stored: Their stored form, oldest first.
        following: Where the next slice begins; None if the newest record was read.
    """

    stored: Sequence[bytes]
    following: SlicePlace | None


def read_slice(key: str, place: SlicePlace) -> Op[Slice]:
    """Read some records; one request and one command, a few more if others trimmed, or if the reply is too large.

    Raises:
        ConversationChanged: Others removed or edited the record before it, so its place is unknown.
    """
    while True:
        try:
            found = yield from _with_record_before(key, place)
        except RequestTooLarge as error:
            if place.size == 1:
                error.problem = (
                    f"The record at position {place.first} (0 is the oldest) of {key!r} is too large to read"
                )
                raise
            place = place._replace(size=place.size // 2)
        else:
            if place.before is None or (found and identity(found[0]) == identity(place.before)):
                return _slice(place, found if place.before is None else found[1:])
            place = yield from _place_now(key, place, place.before)


def _with_record_before(key: str, place: SlicePlace) -> Op[Sequence[bytes]]:
    """Read the records of a slice; if it has a record before it, that too."""
    if place.before is None:
        return (yield from _records(key, place.first, place.size))
    try:
        return (yield from _records(key, place.first - 1, place.size + 1))
    except RequestTooLarge:
        if place.size > 1:
            raise
        # Two of the largest records are too large together.
        record = yield from _records(key, place.first, 1)
        return [*(yield from _records(key, place.first - 1, 1)), *record]


def _records(key: str, first: int, count: int) -> Op[Sequence[bytes]]:
    replies = yield from list_command(key, ("LRANGE", key, -first - count, -first - 1), None, Effect.READ)
    return oldest_first(replies.values[0])


def _slice(place: SlicePlace, stored: Sequence[bytes]) -> Slice:
    if len(stored) < place.size:
        return Slice(stored, None)
    average = max(sum(map(len, stored)) // len(stored), 1)
    size = max(1, min(4 * place.size, _MOST_SIZE, _WANTED_BYTES // average))
    return Slice(stored, SlicePlace(place.first + len(stored), size, stored[-1]))


def _place_now(key: str, place: SlicePlace, before: bytes) -> Op[SlicePlace]:
    """Return the place behind a record that others moved towards the oldest."""
    end = place.first - 1
    while end > 0 and has_id(before):
        begin = max(end - place.size, 0)
        found = [identity(raw) for raw in (yield from _records(key, begin, end - begin))]
        if identity(before) in found:
            return place._replace(first=begin + found.index(identity(before)) + 1)
        end = begin
    raise ConversationChanged(
        f"Others removed or replaced records of the conversation {key!r} while it was read in slices. Read it again"
    )
