"""Reading the records before a cursor, as an operation: what a person is shown who looks further back. Pure.

A cursor's record is looked for at its place counted from the oldest, which appends do not move. Where something else is
there, for others trimmed or removed records, a script looks for its id, and for that of the record before it, in the
whole conversation. A record without an id cannot be looked for: another may be equal to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from chatstash.errors import ConversationChanged, RequestTooLarge
from chatstash.history.operations.read import Contents, entries_of
from chatstash.history.records.identity import LUA, has_id, identity
from chatstash.history.records.record import Entry
from chatstash.history.results import Cursor
from chatstash.history.scripts import appending as scripts
from chatstash.history.scripts.pieces import COUNTED, digest_of
from chatstash.history.selection import NEIGHBOURS, Page
from chatstash.history.steps.chunks import oldest_first
from chatstash.history.steps.duplicates import Looks, distinct
from chatstash.history.steps.lists import counts, expect, on_list, run_script
from chatstash.history.steps.places import Place, places_key, places_of
from chatstash.rest.commands import READING, Command, Effect
from chatstash.rest.ops import Op

_MOST_COVERED = 5
"""How many records tell one without an id from others that are equal to it."""

_NOTHING = "0" * 40
"""In place of a digest: there is no such record, or it has no id."""


# Ids are looked for from the oldest record on: of duplicates, the oldest counts. Records without ids must be where they
# were, for others may be equal to them.
_PAGE = f"""{READING}{COUNTED}{LUA}
local wanted, older, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
local position, known_length, covered = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local length, place = call('LLEN', KEYS[1]), nil
local function name_of(record)
  local name = identity(record)
  return redis.sha1hex(name), name ~= record
end
local function look_at_its_place()
  local digests = {{}}
  for _, record in ipairs(call('LRANGE', KEYS[1], -position - covered, -position)) do
    table.insert(digests, 1, (name_of(record)))
  end
  if length >= known_length and redis.sha1hex(table.concat(digests)) == wanted then place = position end
end
local function look_everywhere()
  local after_older
  for from = 0, length - 1, 100 do
    local records = call('LRANGE', KEYS[1], -from - 100, -from - 1)
    for at = #records, 1, -1 do
      local digest, named = name_of(records[at])
      if named and digest == wanted then place = from + #records - at return end
      if named and digest == older then after_older = after_older or from + #records - at + 1 end
    end
  end
  place = after_older
end
if covered > 0 then look_at_its_place() else look_everywhere() end
if not place then return {{-1, length, ran}} end
local page = place > 0 and call('LRANGE', KEYS[1], -place, math.min(-1, limit - place - 1)) or {{}}
local digest, named = name_of(place > limit and call('LINDEX', KEYS[1], limit - place) or '')
return {{place, length, ran, page, digest, named and 1 or 0}}
"""


def cursor_before(entries: Sequence[Entry], at: int, length: int) -> Cursor | None:
    """Return the cursor before one of the newest records; None where that is none of them.

    Args:
        entries: The newest records, oldest first.
        at: Which of them.
        length: How many records the conversation has.
    """
    return cursor_within(entries, at, length - len(entries), length) if at < len(entries) else None


def cursor_within(entries: Sequence[Entry], at: int, first: int, length: int) -> Cursor:
    """Return the cursor before one of some records.

    Args:
        entries: The records, oldest first.
        at: Which of them.
        first: The place of the first of them, 0 for the oldest of all.
        length: How many records the conversation has.
    """
    raws = [entry.raw for entry in entries[at : at + _MOST_COVERED]]
    return _cursor(_name_of(entries[at - 1].raw) if at else _NO_NAME, raws, first + at, length)


class _Name(NamedTuple):
    """What a record is known by: SHA-1 of its identity, and whether that is an id."""

    digest: str
    is_id: bool


def _name_of(raw: bytes) -> _Name:
    return _Name(digest_of(identity(raw)), has_id(raw))


_NO_NAME = _name_of(b"")


def _cursor(older: _Name, raws: Sequence[bytes], position: int, length: int) -> Cursor:
    """Return the cursor before the first of some records, given the record before it, its place, and the length."""
    name, *_ = names = list(map(_name_of, raws))
    if name.is_id or older.is_id:
        return Cursor(position, length, 0, _id_digest(name), _id_digest(older))
    return Cursor(position, length, len(raws), _digest_of_run([older, *names]), _NOTHING)


def _id_digest(name: _Name) -> str:
    return name.digest if name.is_id else _NOTHING


def _digest_of_run(names: Iterable[_Name]) -> str:
    return digest_of("".join(name.digest for name in names).encode())


def read_before(key: str, page: Page) -> Op[Contents]:
    """Read the records before a cursor; one request and three commands.

    One request more where others trimmed or removed records since. Where the cursor's record was removed, reading goes
    on at the one before it; where that is gone as well, others trimmed or cleared the conversation, and the page is
    empty. A page that would be over the server's limit is shorter. One more request where a record may be a duplicate,
    and where it was one, the page is read again.

    Raises:
        WrongType: The key holds something else; its value was not changed.
        ConversationChanged: Others trimmed or removed records, and the place of one without an id cannot be told.
        RequestTooLarge: One record alone is over the server's limit.
    """
    looks, limit = Looks(key), page.limit
    while True:
        found = yield from _find_page(key, page.before, limit)
        if (yield from looks.have_changed(found.entries, found.first_place, found.noted)):
            continue
        contents = _contents(found, page.limit, looks.left)
        if len(contents.entries) >= page.limit or not contents.omitted or found.limit < limit:
            return contents
        # Beyond the duplicates that could not be removed, as far back as it takes.
        limit += page.limit - len(contents.entries)


@dataclass(frozen=True, slots=True, eq=False)
class _FoundPage:
    """The records before a cursor, oldest first.

    Attributes:
        stored: Their stored form.
        newer: The records after them, as far as they are known; the first is the cursor's.
        limit: How many records were wanted; fewer than the caller wants where more would be over the server's limit.
        position: The place of the cursor's record, 0 for the oldest: the number of records that are older.
        length: How many records the conversation has.
        entries: What is read of `stored`.
        beside: The record before `stored`, where there is one and none is beyond the page.
        noted: Where batches were noted to stand that may have duplicates.
    """

    stored: Sequence[bytes]
    newer: Sequence[bytes]
    limit: int
    position: int
    length: int
    entries: Sequence[Entry]
    beside: _Name
    noted: Mapping[str, Place] = field(default_factory=dict)

    @property
    def first_place(self) -> int:
        """The place of the oldest of them, 0 for the oldest of all."""
        return self.position - len(self.stored)


def _find_page(key: str, before: Cursor, limit: int) -> Op[_FoundPage]:
    while True:
        try:
            return (yield from _page_at_its_place(key, before, limit))
        except RequestTooLarge:
            if limit == 1:
                # Without the cursor's record, and without any beyond the page.
                return (yield from _look_for_page(key, before, 1, beyond=0))
            limit //= 2


def _page_at_its_place(key: str, cursor: Cursor, limit: int) -> Op[_FoundPage]:
    older = min(limit + NEIGHBOURS, cursor.position)
    first = -1 - cursor.position
    beside = max(cursor.covered - 1, 0)
    asked = ("LRANGE", key, first - beside, first + older)
    replies = yield from on_list(key, asked, None, Effect.READ, more=(("LLEN", key), ("GET", places_key(key))))
    records, length = oldest_first(replies.values[0]), expect(int, replies.values[1], Effect.READ)
    if not _is_at_its_place(cursor, records, older, length):
        if cursor.covered:
            return _not_found(key, cursor, length)
        return (yield from _look_for_page(key, cursor, limit, beyond=NEIGHBOURS))
    entries = entries_of(records[:older], key, cursor.position - older)
    noted = places_of(replies.values[2])
    return _FoundPage(records[:older], records[older:], limit, cursor.position, length, entries, _NO_NAME, noted)


def _is_at_its_place(cursor: Cursor, records: Sequence[bytes], at: int, length: int) -> bool:
    if len(records) != at + max(cursor.covered, 1):
        return False
    older, *names = [_NO_NAME] * (not at) + list(map(_name_of, records[max(at - 1, 0) :]))
    if cursor.covered:
        # Where there are fewer records than there were, an equal one may have moved there.
        return length >= cursor.length and _digest_of_run([older, *names]) == cursor.digest
    return names[0] == (cursor.digest, True) or older == (cursor.older, True)


def _look_for_page(key: str, cursor: Cursor, limit: int, *, beyond: int) -> Op[_FoundPage]:
    paging = _paging(key, cursor, limit + beyond)
    answer = yield from run_script(key, paging, Effect.READ, ran_at=scripts.APPEND_RAN_AT)
    position, length = counts(answer, 2, Effect.READ)
    if position < 0:
        return _not_found(key, cursor, length)
    stored = oldest_first(answer[3])
    entries = entries_of(stored, key, position - len(stored))
    beside = _Name(expect(bytes, answer[4], Effect.READ).decode(), answer[5] == 1)
    return _FoundPage(stored, [], limit, position, length, entries, beside)


def _not_found(key: str, cursor: Cursor, length: int) -> _FoundPage:
    """Return an empty page where everything up to the cursor's record is gone; raises where that cannot be told."""
    if length and (cursor.covered or _NOTHING in (cursor.digest, cursor.older)):
        raise ConversationChanged(
            f"Others trimmed, removed or edited records of {key!r} since the cursor was made, and where it was cannot "
            "be told, because the records there have no id"
        )
    return _FoundPage([], [], 0, 0, length, [], _NO_NAME)


def _contents(found: _FoundPage, most: int, duplicated: Mapping[str, Place]) -> Contents:
    shown = distinct(found.entries, found.first_place, duplicated)[-min(most, found.limit) :]
    begin = next((at for at, entry in enumerate(found.entries) if shown and entry is shown[0]), 0)
    omitted = found.first_place + begin
    cursor = _further_cursor(found, begin) if omitted and found.stored else None
    return Contents(shown, found.length, [], omitted=omitted, cursor=cursor)


def _further_cursor(found: _FoundPage, begin: int) -> Cursor:
    raws = [*found.stored[begin:], *found.newer][:_MOST_COVERED]
    older = _name_of(found.stored[begin - 1]) if begin else found.beside
    return _cursor(older, raws, found.first_place + begin, found.length)


def _paging(key: str, cursor: Cursor, limit: int) -> Command:
    """Return the script call that looks for a cursor's record and reads the records older than it.

    Answers its place, 0 for the oldest, or -1 where it is not found; the conversation's length; how many commands it
    ran; and where it is found, the records, newest first; then of the record before those the SHA-1 of its identity,
    and whether that is an id.
    """
    place = (cursor.position, cursor.length, cursor.covered)
    return ("EVAL_RO", _PAGE, 1, key, cursor.digest, cursor.older, limit, *place)
