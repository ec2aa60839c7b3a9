"""The scripts that append, clear and settle; each runs in one step, alone. Pure.

Those that append are composed of guards, a source of records and a push.

Used only where one command or transaction will not do: Upstash bills each command within. A script names all its
keys, so that Upstash locks only those (`KEY_LOCKING`). A script that appends is given the ttl and the most records to
keep first ("" for no bound), then the arguments of its guards, then the records, oldest first; its first key is the
conversation.

A script that appends answers `[status, length, commands, detail]`: `REFUSED` by a guard, which gives the detail;
`STORED` now, or stored `BEFORE`, where the detail is EXPIRE's reply or the text of its error. `commands` is how many
it ran.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from chatstash.history.records.keys import IN_FLIGHT_TTL
from chatstash.history.scripts import trimming as retention
from chatstash.history.scripts.pieces import COUNTED, SCAN
from chatstash.history.steps.places import NOTE_PLACES
from chatstash.rest.commands import KEY_LOCKING, Argument, Command

REFUSED, STORED, BEFORE = 0, 1, 2

APPEND_RAN_AT, RAN_AT = 2, 1
"""The place of `commands` in the answer of a script that appends or gives a page, and of any other."""

VOID = "void:"
"""What the marker of an append begins with that was called off, before its batch: it does nothing if it arrives later.
Another append with the same idempotency key is of another batch, and goes ahead."""

_CALLED_OFF = f"""
local function void_of(batch) return '{VOID}' .. batch end
local function is_void_of_another(held, batch)
  return string.sub(held, 1, {len(VOID)}) == '{VOID}' and held ~= void_of(batch)
end
"""

_ARGUMENTS = """
local argument_at, key_at = 0, 1
local function argument() argument_at = argument_at + 1; return ARGV[argument_at] end
local function key() key_at = key_at + 1; return KEYS[key_at] end
local ttl, most = argument(), argument()
local marker, own_batch, places, batch, was_refused
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
  if batch and is_stored(batch) then
    discard()
    return {2, listed, ran, 1}
  end
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
_FAILED = """
if failure then
  if pushed > 0 then call('LPOP', KEYS[1], pushed) end
  if marker then call('DEL', marker) end
  return failure
end
"""

_TRIM = """
length = trim(length, tonumber(most))
"""

_SET_EXPIRY = """
local expiry = 1
if ttl ~= '' then
  expiry = try('EXPIRE', KEYS[1], ttl)
  if type(expiry) == 'table' then expiry = expiry.err end
end
"""

_END = """
if places then
  note_places(places, {[batch] = place_of(batch, length - pushed, call('LINDEX', KEYS[1], pushed))}, true)
end
return {1, length, ran, expiry}
"""

_CLEAR = f"""{KEY_LOCKING}{COUNTED}
local done = call('SET', KEYS[2], '1', 'NX', 'GET', 'EX', ARGV[1])
if done then return {{tonumber(done), ran}} end
local deleted = call('DEL', KEYS[1])
if deleted == 0 then call('SET', KEYS[2], '0', 'EX', ARGV[1]) end
return {{deleted, ran}}
"""

# By a script, for a plain read might be answered by a replica that lags.
_FIND = f"""{KEY_LOCKING}{COUNTED}{SCAN}{_CALLED_OFF}
local batch, void = ARGV[1], ARGV[2]
local held = KEYS[2] and call('GET', KEYS[2])
if held and not is_void_of_another(held, batch) then return {{1, ran, held}} end
if batch ~= '' and is_stored(batch) then return {{1, ran}} end
if void ~= '' then call('SET', KEYS[2], void_of(batch), 'EX', void) end
return {{0, ran}}
"""


class Guard(NamedTuple):
    """What must hold for a script to append; where it does not, the script answers and ends.

    Attributes:
        lua: The test.
        keys: The keys it takes.
        arguments: The arguments it takes.
        functions: What it calls.
    """

    lua: str
    keys: tuple[str, ...] = ()
    arguments: tuple[Argument, ...] = ()
    functions: str = ""


_NOT_STORED = """
batch = argument()
if is_stored(batch) then
  discard()
  return {2, listed, ran, 1}
end
"""

_NAMED = """
batch = argument()
"""

_NOTING_PLACE = """
places = key()
"""

_FIRST_USE = """
marker = key()
local value, marker_ttl, of_turn = argument(), argument(), argument()
own_batch = string.match(value, ':(.*)$')
local held = call('SET', marker, value, 'NX', 'GET', 'EX', marker_ttl)
if held and is_void_of_another(held, own_batch) then
  call('SET', marker, value, 'EX', marker_ttl)
  held = false
end
was_refused = of_turn ~= '' and held == void_of(own_batch)
if held and not was_refused then
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
if was_refused or now ~= known or not same_at(0) then
  if batch and is_stored(batch) then
    discard()
    return {2, listed, ran, 1}
  end
  local last = now - known - 1
  local only_new = last >= 0 and same_at(last + 1)
  local others = {only_new and 1 or 0}
  for _, record in ipairs(call('LRANGE', KEYS[1], 0, only_new and last or -1)) do
    room = room - #record
    if room < 0 then break end
    others[#others + 1] = record
  end
  discard()
  if marker then call('SET', marker, void_of(own_batch), 'KEEPTTL') end
  return {0, now, ran, others}
end
"""


def not_stored(batch: str) -> Guard:
    """No record of the batch is in the conversation: the append was not applied before."""
    return Guard(_NOT_STORED, arguments=(batch,), functions=SCAN)


def named(batch: str) -> Guard:
    """Always holds. Where another guard does not, or parts are gone, a stored record tells that it was applied."""
    return Guard(_NAMED, arguments=(batch,), functions=SCAN)


def noting_place(places: str) -> Guard:
    """Always holds. Notes where the records go, for a late first request may leave duplicates; after `not_stored`."""
    return Guard(_NOTING_PLACE, (places,), functions=NOTE_PLACES)


def first_use(marker: str, value: str, ttl: int, *, of_turn: bool = False) -> Guard:
    """The marker of an append is not set yet; it is set in the same step, with `value`, for `ttl` seconds.

    Where it is, its value is the detail. If `of_turn`, `unchanged` follows, and refuses again what it refused before.
    """
    return Guard(_FIRST_USE, (marker,), (value, ttl, "1" if of_turn else ""), _CALLED_OFF)


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
    return _call(guards, kept, (_NOTHING_STAGED, _FROM_ARGUMENTS), _keys(guards, key), arguments)


def moving(guards: Sequence[Guard], key: str, staged: Sequence[str], kept: Kept) -> Command:
    """Return the script call that appends the records of staged lists, where all guards hold; deletes the lists anyway.

    Args:
        guards: What must hold.
        key: The conversation's key.
        staged: The keys of lists that hold the records, oldest first throughout.
        kept: How long and how much is kept.
    """
    keys = _keys(guards, key)
    staging = _STAGED.format(first=len(keys) + 1)
    return _call(guards, kept, (staging, _FROM_STAGED), (*keys, *staged), _arguments(guards, kept))


def _call(
    guards: Sequence[Guard], kept: Kept, source: tuple[str, str], keys: Sequence[str], arguments: Sequence[Argument]
) -> Command:
    functions = "".join(dict.fromkeys(guard.functions for guard in guards))
    tests = "".join(guard.lua for guard in guards)
    retaining, trim = ("", "") if kept.most is None else (retention.LUA, _TRIM)
    begin, push = source
    beginning = f"{KEY_LOCKING}{COUNTED}{functions}{retaining}{_ARGUMENTS}{begin}{tests}"
    script = f"{beginning}{_PUSH}{push}{_FAILED}{trim}{_SET_EXPIRY}{_END}"
    return ("EVAL", script, len(keys), *keys, *arguments)


def _keys(guards: Sequence[Guard], key: str) -> tuple[str, ...]:
    return (key, *(name for guard in guards for name in guard.keys))


def _arguments(guards: Sequence[Guard], kept: Kept) -> tuple[Argument, ...]:
    bounds = ("" if bound is None else bound for bound in (kept.ttl, kept.most))
    return (*bounds, *(value for guard in guards for value in guard.arguments))


def clearing(key: str, marker: str) -> Command:
    """Return the script call that deletes a conversation unless the marker says it was done.

    Answers whether there was one, and how many commands it ran.

    Args:
        key: The conversation's key.
        marker: The key that tells this clearing from any other.
    """
    return ("EVAL", _CLEAR, 2, key, marker, IN_FLIGHT_TTL)


def finding(key: str, marker: str | None, batch: str, void_for: int | None = None) -> Command:
    """Return the script call that tells whether a marker is set or else a record of a batch is stored.

    Answers `[0 or 1, commands]`, and the marker's value where it is set.

    Args:
        key: The conversation's key.
        marker: The marker's key, or None.
        batch: The batch; empty to look at the marker alone.
        void_for: Seconds for which the marker says that the batch is called off, if neither is found: its append does
            nothing from then on. None to leave the marker.
    """
    keys = (key,) if marker is None else (key, marker)
    return ("EVAL", _FIND, len(keys), *keys, batch, "" if void_for is None else void_for)
