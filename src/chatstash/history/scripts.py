"""The Lua scripts, put together of guards, a source of records and a push; each runs in one step, alone. Pure.

Used only where one command or transaction will not do: they are billed by the command within, and each names all its
keys, so that Upstash locks only those (`KEY_LOCKING`). One that appends is given the time to live and the most records
to keep first ("" for no bound), then what its guards need, then the records, oldest first; its first key is the
conversation.

A script that appends answers `[status, length, commands, detail]`: `REFUSED` by a guard, whose words are the detail;
`STORED` now, or stored `BEFORE`, where the detail is EXPIRE's reply or its error's text. `commands` is how many it ran.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from typing import NamedTuple

from chatstash.history.generation import LUA
from chatstash.history.results import Cursor
from chatstash.rest.commands import KEY_LOCKING, Argument, Command

REFUSED, STORED, BEFORE = 0, 1, 2

APPEND_RAN_AT, RAN_AT = 2, 1
"""The place of `commands` in the answer of a script that appends or gives a page, and of any other."""

_COUNTED = """
local ran = 0
local function call(...) ran = ran + 1; return redis.call(...) end
local function try(...) ran = ran + 1; return redis.pcall(...) end
"""

_ARGUMENTS = """
local argument_at, key_at = 0, 1
local function argument() argument_at = argument_at + 1; return ARGV[argument_at] end
local function key() key_at = key_at + 1; return KEYS[key_at] end
local ttl, most = argument(), argument()
local marker
"""

_NOTHING_STAGED = """
local function discard() end
"""

# The parts are of no more use, whatever becomes of the append.
_STAGED = """
local staged = {{unpack(KEYS, {first})}}
local function discard() call('DEL', unpack(staged)) end
"""

# Lua takes at most 8000 values from a table at once.
_PUSH = """
local pushed, length = 0, 0
local function push(records, first, last)
  for from = first, last, 4000 do
    local upto = math.min(from + 3999, last)
    length = try('LPUSH', KEYS[1], unpack(records, from, upto))
    if type(length) == 'table' then return length end
    pushed = pushed + upto - from + 1
  end
end
"""

_FROM_ARGUMENTS = """
local failure = push(ARGV, argument_at + 1, #ARGV)
"""

_FROM_STAGED = """
local failure
if call('EXISTS', unpack(staged)) < #staged then
  failure = redis.error_reply('ERR a staged part of this append has expired')
end
for _, part in ipairs(staged) do
  if not failure then
    local records = call('LRANGE', part, 0, -1)
    failure = push(records, 1, #records)
  end
end
discard()
"""

# All or nothing: what a refused push has left is taken off again before anybody can see it.
_END = """
if failure then
  if pushed > 0 then call('LPOP', KEYS[1], pushed) end
  if marker then call('DEL', marker) end
  return failure
end
if most ~= '' and length > tonumber(most) then
  call('LTRIM', KEYS[1], 0, most - 1)
  length = tonumber(most)
end
local expiry = 1
if ttl ~= '' then
  expiry = try('EXPIRE', KEYS[1], ttl)
  if type(expiry) == 'table' then expiry = expiry.err end
end
return {1, length, ran, expiry}
"""

_CLEAR = f"""{KEY_LOCKING}{_COUNTED}
local done = call('SET', KEYS[2], '1', 'NX', 'GET', 'EX', ARGV[1])
if done then return {{tonumber(done), ran}} end
local deleted = call('DEL', KEYS[1])
if deleted == 0 then call('SET', KEYS[2], '0', 'EX', ARGV[1]) end
return {{deleted, ran}}
"""

_REMOVE_TWINS = f"""{KEY_LOCKING}{_COUNTED}
local removed = 0
for _, record in ipairs(ARGV) do
  local places = call('LPOS', KEYS[1], record, 'COUNT', 0)
  if #places > 1 then removed = removed + call('LREM', KEYS[1], #places - 1, record) end
end
return {{removed, ran}}
"""

# By a script, for a plain read might be answered by a replica that lags. Newest first, for what is looked for is most
# often there.
_FIND = f"""{KEY_LOCKING}{_COUNTED}
local held = KEYS[2] and call('GET', KEYS[2])
if held then return {{1, ran, held}} end
if ARGV[1] == '' then return {{0, ran}} end
local length = call('LLEN', KEYS[1])
for from = 0, length - 1, 100 do
  for _, record in ipairs(call('LRANGE', KEYS[1], from, from + 99)) do
    if string.find(record, ARGV[1], 1, true) then return {{1, ran}} end
  end
end
return {{0, ran}}
"""


# Ids are looked for from the oldest record on: of duplicates, the oldest counts. Records without ids must be where they
# were, for others may be equal to them.
_PAGE = f"""{KEY_LOCKING}{_COUNTED}{LUA}
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

# A copy came after its older neighbour and was written before it (its batch's first eight characters are the time), or
# its batch begins anew.
_COUNT = f"""{KEY_LOCKING}{_COUNTED}{LUA}
local order = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
local function time_of(batch)
  local time = 0
  for at = 1, 8 do time = time * 64 + string.find(order, string.sub(batch, at, at), 1, true) - 1 end
  return time
end
local length, copies = call('LLEN', KEYS[1]), 0
local newest = call('LRANGE', KEYS[1], 0, 99)
local older, older_batch, older_position, late = 0, nil, 0, nil
for place = #newest, 1, -1 do
  local record = newest[place]
  local batch, position = string.match(without_generation(record), '"rid":"([%w_-]+)%.(%d+)/%d+"}}$')
  if batch and #batch == 16 then
    local time = time_of(batch)
    if time < older or batch == older_batch and tonumber(position) <= older_position then late = batch end
    if batch == late and #call('LPOS', KEYS[1], record, 'COUNT', 2) > 1 then copies = copies + 1 end
    if batch ~= late then older = time end
    older_batch, older_position = batch, tonumber(position)
  end
end
return {{length - copies, ran}}
"""


def digest_of(raw: bytes) -> str:
    """Return what `redis.sha1hex` gives within a script: SHA-1, hexadecimal. It names a record and protects nothing."""
    return sha1(raw, usedforsecurity=False).hexdigest()


class Guard(NamedTuple):
    """What must hold for a script to append; where it does not, the script answers and ends.

    Attributes:
        lua: The test.
        keys: The keys it takes.
        arguments: The arguments it takes.
    """

    lua: str
    keys: tuple[str, ...] = ()
    arguments: tuple[Argument, ...] = ()


_NOT_THERE = """
if call('LPOS', KEYS[1], ARGV[#ARGV]) then
  local there = call('LLEN', KEYS[1])
  discard()
  return {2, there, ran, 1}
end
"""

_FIRST_USE = """
marker = key()
local value, marker_ttl = argument(), argument()
local held = call('SET', marker, value, 'NX', 'GET', 'EX', marker_ttl)
if held then
  local there = call('LLEN', KEYS[1])
  discard()
  return {0, there, ran, held}
end
"""

_UNCHANGED = """
local known, compared, digest = tonumber(argument()), tonumber(argument()), argument()
local room = tonumber(argument())
local function same_at(index)
  local records = compared > 0 and call('LRANGE', KEYS[1], index, index + compared - 1) or {}
  return redis.sha1hex(table.concat(records, '\\n')) == digest
end
local now = call('LLEN', KEYS[1])
if now ~= known or not same_at(0) then
  local last = now - known - 1
  local only_new = last >= 0 and same_at(last + 1)
  local others = {only_new and 1 or 0}
  for _, record in ipairs(call('LRANGE', KEYS[1], 0, only_new and last or -1)) do
    room = room - #record
    if room < 0 then break end
    others[#others + 1] = record
  end
  discard()
  return {0, now, ran, others}
end
"""


def not_there() -> Guard:
    """The newest of the records, unique by its id, is not in the conversation: they were not appended before."""
    return Guard(_NOT_THERE)


def first_use(marker: str, value: str, ttl: int) -> Guard:
    """The marker of an idempotency key is not set yet; it is set in the same step, with `value`, for `ttl` seconds.

    Where it is, its value is the detail.
    """
    return Guard(_FIRST_USE, (marker,), (value, ttl))


def unchanged(length: int, compared: int, digest: str, most_told: int) -> Guard:
    """The conversation has as many records as were read, and the newest are those whose SHA-1 is given.

    Where it is not so, the detail is a list: 1 and the records that are new since, newest first, or 0 and all records
    where it cannot be told which are new. Of more than `most_told` bytes, the newest.
    """
    return Guard(_UNCHANGED, arguments=(length, compared, digest, most_told))


class Kept(NamedTuple):
    """How long and how much is kept: seconds until the conversation expires, and records; None for no bound."""

    ttl: int | None
    most: int | None


def appending(guards: Sequence[Guard], key: str, records: Sequence[str], kept: Kept) -> Command:
    """Return the script call that appends records, oldest first, where all guards hold."""
    arguments = (*_arguments(guards, kept), *records)
    return _call(guards, _NOTHING_STAGED, _FROM_ARGUMENTS, _keys(guards, key), arguments)


def moving(guards: Sequence[Guard], key: str, staged: Sequence[str], newest: str, kept: Kept) -> Command:
    """Return the script call that appends the records of staged lists, where all guards hold; deletes the lists anyway.

    Args:
        guards: What must hold.
        key: The conversation's key.
        staged: The keys of lists that hold the records, oldest first throughout.
        newest: The newest of the records.
        kept: How long and how much is kept.
    """
    arguments = (*_arguments(guards, kept), newest)
    keys = _keys(guards, key)
    return _call(guards, _STAGED.format(first=len(keys) + 1), _FROM_STAGED, (*keys, *staged), arguments)


def _call(
    guards: Sequence[Guard], beginning: str, source: str, keys: Sequence[str], arguments: Sequence[Argument]
) -> Command:
    tests = "".join(guard.lua for guard in guards)
    script = f"{KEY_LOCKING}{_COUNTED}{_ARGUMENTS}{beginning}{tests}{_PUSH}{source}{_END}"
    return ("EVAL", script, len(keys), *keys, *arguments)


def _keys(guards: Sequence[Guard], key: str) -> tuple[str, ...]:
    return (key, *(name for guard in guards for name in guard.keys))


def _arguments(guards: Sequence[Guard], kept: Kept) -> tuple[Argument, ...]:
    bounds = ("" if bound is None else bound for bound in (kept.ttl, kept.most))
    return (*bounds, *(value for guard in guards for value in guard.arguments))


def clearing(key: str, marker: str, ttl: int) -> Command:
    """Return the script call that deletes a conversation unless the marker says it was done.

    Answers whether there was one, and how many commands it ran.

    Args:
        key: The conversation's key.
        marker: The key that tells this clearing from any other.
        ttl: Seconds for which it is kept.
    """
    return ("EVAL", _CLEAR, 2, key, marker, ttl)


def removing_twins(key: str, records: Sequence[str]) -> Command:
    """Return the script call that leaves only the oldest of equal records; answers how many went, and its commands."""
    return ("EVAL", _REMOVE_TWINS, 1, key, *records)


def finding(key: str, marker: str | None, text: str) -> Command:
    """Return the script call that tells whether a marker is set or else a record contains a text.

    Answers `[0 or 1, commands]`, and the marker's value where it is set.

    Args:
        key: The conversation's key.
        marker: The marker's key, or None.
        text: The text; empty to look at the marker alone.
    """
    keys = (key,) if marker is None else (key, marker)
    return ("EVAL", _FIND, len(keys), *keys, text)


def paging(key: str, cursor: Cursor, limit: int) -> Command:
    """Return the script call that looks for a cursor's record and reads the records older than it.

    Answers its place, 0 for the oldest, or -1 where it is not found; the conversation's length; how many commands it
    ran; and where it is found, the records, newest first; then of the record before those the SHA-1 of its identity,
    and whether that is an id.
    """
    place = (cursor.position, cursor.length, cursor.covered)
    return ("EVAL", _PAGE, 1, key, cursor.digest, cursor.older, limit, *place)


def counting(key: str) -> Command:
    """Return the script call that counts records, late copies among the newest hundred left out; and its commands."""
    return ("EVAL", _COUNT, 1, key)
