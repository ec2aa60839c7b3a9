"""The Lua scripts, composed of guards, a source of records and a push; each runs in one step, alone. Pure.

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
from hashlib import sha1
from typing import NamedTuple

from chatstash.history import retention
from chatstash.history.generation import COUNT_UP, LUA
from chatstash.history.results import Cursor
from chatstash.rest.commands import KEY_LOCKING, READING, Argument, Command

REFUSED, STORED, BEFORE = 0, 1, 2

APPEND_RAN_AT, RAN_AT = 2, 1
"""The place of `commands` in the answer of a script that appends or gives a page, and of any other."""

IN_FLIGHT_TTL = 3600
"""Seconds for which the marker of a write is kept: far longer than any request can be under way."""

VOID = "void:"
"""What the marker of an append begins with that was called off, before its batch: it does nothing if it arrives later.
Another append with the same idempotency key is of another batch, and goes ahead."""

_COUNTED = """
local ran = 0
local function call(...) ran = ran + 1; return redis.call(...) end
local function try(...) ran = ran + 1; return redis.pcall(...) end
"""

# Newest first, for what is looked for is mostly there; in slices that double, for each is a command.
_SCAN = f"""{LUA}
local function batch_of(raw)
  local id = identity(raw)
  return id ~= raw and string.sub(id, 1, 16) or nil
end
local listed
local function scan(visit)
  listed = listed or call('LLEN', KEYS[1])
  local from, size = 0, 100
  while from < listed do
    for place, raw in ipairs(call('LRANGE', KEYS[1], from, from + size - 1)) do
      if visit(raw, from + place - 1) then return true end
    end
    from, size = from + size, math.min(2 * size, 5000)
  end
  return false
end
-- A record with an id of one of these batches; a look at its end is cheaper than a pattern.
local function batch_among(raw, batches)
  for _, batch in ipairs(batches) do
    if string.find(raw, batch, -90, true) and batch_of(raw) == batch then return batch end
  end
end
local function is_stored(batch)
  return scan(function(raw) return batch_among(raw, {{batch}}) end)
end
"""
"""`is_stored(batch)`, the one definition of "these records are there": a record with an id of this batch is."""

_PLACE = """
local function place_of(batch, place, older)
  return batch .. ':' .. place .. ':' .. (older and string.sub(redis.sha1hex(identity(older)), 1, 8) or '')
end
"""
"""`place_of(batch, place, older)`, what tells a batch from its duplicates: the place of its first record, 0 for the
oldest of all, and a digest of the record before it."""

_NOTE_PLACES = f"""{_PLACE}
local function note_places(places, batches, are_settled)
  local settled, looked_at = {{}}, {{}}
  local old, new, section = {{}}, {{}}, settled
  for entry in string.gmatch(call('GET', places) or '', '%S+') do
    local batch = string.sub(entry, 1, 16)
    if entry == '|' then section = looked_at
    elseif batches[batch] then old[batch] = section
    else section[#section + 1] = entry end
  end
  for batch, entry in pairs(batches) do
    section = (are_settled or old[batch] == settled) and settled or looked_at
    section[#section + 1] = entry
  end
  for _, entries in ipairs({{settled, looked_at}}) do
    while #entries > 50 do table.remove(entries, 1) end
  end
  local noted = table.concat(settled, ' ') .. ' | ' .. table.concat(looked_at, ' ')
  call('SET', places, noted, 'EX', {IN_FLIGHT_TTL})
end
"""
"""Notes where batches stand that may have duplicates: first those of settlements, whose late request may still arrive,
and then those that were looked at. However many are looked at, no settlement is forgotten for that."""

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

_CLEAR = f"""{KEY_LOCKING}{_COUNTED}
local done = call('SET', KEYS[2], '1', 'NX', 'GET', 'EX', ARGV[1])
if done then return {{tonumber(done), ran}} end
local deleted = call('DEL', KEYS[1])
if deleted == 0 then call('SET', KEYS[2], '0', 'EX', ARGV[1]) end
return {{deleted, ran}}
"""

# The place of a batch whose first records were trimmed is where its first would be.
_LOCATE = f"""{_PLACE}
local wanted, oldest, newer, first, older, length = {{}}, {{}}, {{}}, {{}}, {{}}, call('LLEN', KEYS[1])
for _, batch in ipairs(ARGV) do wanted[batch] = true end
local previous
scan(function(raw, index)
  local batch = batch_of(raw)
  if previous and previous ~= batch then older[previous] = raw end
  previous = wanted[batch or ''] and batch or nil
  if not previous then return end
  local id = identity(raw)
  if oldest[id] then newer[#newer + 1] = oldest[id] end
  oldest[id], older[batch] = {{index, raw}}, nil
  first[batch] = {{index, tonumber(string.match(id, '%.(%d+)'))}}
end)
local function place_now(batch, removed)
  local index, position = unpack(first[batch])
  return place_of(batch, listed - 1 - index - position - removed, older[batch])
end
local function listed_places(places)
  local entries = {{}}
  for _, entry in pairs(places) do entries[#entries + 1] = entry end
  return table.concat(entries, ' ')
end
"""

# The oldest copy of each record stays. The places are noted, so that nobody looks again. Where a record that is removed
# carried the generation, another has to.
_REMOVE_DUPLICATES = f"""{KEY_LOCKING}{_COUNTED}{_SCAN}{_NOTE_PLACES}{_LOCATE}
local carried, noted = false, {{}}
for _, copy in ipairs(newer) do
  call('LSET', KEYS[1], copy[1], 'chatstash:duplicate')
  carried = carried or without_generation(copy[2]) ~= copy[2]
end
if #newer > 0 then call('LREM', KEYS[1], #newer, 'chatstash:duplicate') end
if carried then
  {COUNT_UP}
end
for batch, found in pairs(first) do
  local removed = 0
  for _, copy in ipairs(newer) do if copy[1] > found[1] then removed = removed + 1 end end
  noted[batch] = place_now(batch, removed)
end
note_places(KEYS[2], noted, false)
return {{#newer, ran, listed_places(noted), ''}}
"""

_LOCATE_DUPLICATES = f"""{READING}{_COUNTED}{_SCAN}{_LOCATE}
local doubled, batches, places = {{}}, {{}}, {{}}
for _, copy in ipairs(newer) do doubled[batch_of(copy[2])] = true end
for batch in pairs(doubled) do batches[#batches + 1] = batch end
for batch in pairs(first) do places[batch] = place_now(batch, 0) end
return {{#newer, ran, listed_places(places), table.concat(batches, ' ')}}
"""

# By a script, for a plain read might be answered by a replica that lags.
_FIND = f"""{KEY_LOCKING}{_COUNTED}{_SCAN}
local batch, void = ARGV[1], ARGV[2]
local held = KEYS[2] and call('GET', KEYS[2])
if held and (string.sub(held, 1, 5) ~= '{VOID}' or held == '{VOID}' .. batch) then return {{1, ran, held}} end
if batch ~= '' and is_stored(batch) then return {{1, ran}} end
if void ~= '' then call('SET', KEYS[2], '{VOID}' .. batch, 'EX', void) end
return {{0, ran}}
"""


# Ids are looked for from the oldest record on: of duplicates, the oldest counts. Records without ids must be where they
# were, for others may be equal to them.
_PAGE = f"""{READING}{_COUNTED}{LUA}
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

# Of the batches whose place is noted, and of those among the newest hundred that may be duplicates by their times (a
# batch's first eight characters): one that came after its older neighbour was written before it, or begins anew.
_COUNT = f"""{READING}{_COUNTED}{_SCAN}
local order = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
local function time_of(batch)
  local time = 0
  for at = 1, 8 do time = time * 64 + string.find(order, string.sub(batch, at, at), 1, true) - 1 end
  return time
end
listed = call('LLEN', KEYS[1])
local suspects = {{}}
local function suspect(batch) suspects[#suspects + 1] = batch end
for entry in string.gmatch(call('GET', KEYS[2]) or '', '%S+') do
  if entry ~= '|' then suspect(string.sub(entry, 1, 16)) end
end
local newest, met, older, older_place = call('LRANGE', KEYS[1], 0, 99), {{}}, nil, nil
for at = #newest, 1, -1 do
  local batch = batch_of(newest[at])
  if batch then
    local id = identity(newest[at])
    local place = tonumber(string.match(id, '(%d+)/'))
    if met[id] or older and (time_of(batch) < time_of(older) or batch == older and place <= older_place) then
      suspect(batch)
    end
    met[id], older, older_place = true, batch, place
  end
end
if #suspects == 0 then return {{listed, ran}} end
local seen, duplicates = {{}}, 0
scan(function(raw)
  if batch_among(raw, suspects) then
    local id = identity(raw)
    if seen[id] then duplicates = duplicates + 1 end
    seen[id] = true
  end
end)
return {{listed - duplicates, ran}}
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
if held and string.sub(held, 1, 5) == 'void:' and held ~= 'void:' .. own_batch then
  call('SET', marker, value, 'EX', marker_ttl)
  held = false
end
was_refused = of_turn ~= '' and held == 'void:' .. own_batch
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
  if marker then call('SET', marker, 'void:' .. own_batch, 'KEEPTTL') end
  return {0, now, ran, others}
end
"""


def not_stored(batch: str) -> Guard:
    """No record of the batch is in the conversation: the append was not applied before."""
    return Guard(_NOT_STORED, arguments=(batch,), functions=_SCAN)


def named(batch: str) -> Guard:
    """Always holds. Where another guard does not, or parts are gone, a stored record tells that it was applied."""
    return Guard(_NAMED, arguments=(batch,), functions=_SCAN)


def noting_place(places: str) -> Guard:
    """Always holds. Notes where the records go, for a late first request may leave duplicates; after `not_stored`."""
    return Guard(_NOTING_PLACE, (places,), functions=_NOTE_PLACES)


def first_use(marker: str, value: str, ttl: int, *, of_turn: bool = False) -> Guard:
    """The marker of an append is not set yet; it is set in the same step, with `value`, for `ttl` seconds.

    Where it is, its value is the detail. If `of_turn`, `unchanged` follows, and refuses again what it refused before.
    """
    return Guard(_FIRST_USE, (marker,), (value, ttl, "1" if of_turn else ""))


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
    beginning = f"{KEY_LOCKING}{_COUNTED}{functions}{retaining}{_ARGUMENTS}{begin}{tests}"
    script = f"{beginning}{_PUSH}{push}{_FAILED}{trim}{_SET_EXPIRY}{_END}"
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


def removing_duplicates(key: str, places: str, batches: Sequence[str]) -> Command:
    """Return the script call that leaves only the oldest copy of each record of some batches.

    Answers how many records it removed, its commands, where the batches stand, and nothing, for no duplicate is left.
    """
    return ("EVAL", _REMOVE_DUPLICATES, 2, key, places, *batches)


def locating(key: str, batches: Sequence[str]) -> Command:
    """Return the script call that looks for duplicates and changes nothing.

    Answers how many there are, its commands, where the batches stand, and which of them have duplicates.
    """
    return ("EVAL_RO", _LOCATE_DUPLICATES, 1, key, *batches)


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


def paging(key: str, cursor: Cursor, limit: int) -> Command:
    """Return the script call that looks for a cursor's record and reads the records older than it.

    Answers its place, 0 for the oldest, or -1 where it is not found; the conversation's length; how many commands it
    ran; and where it is found, the records, newest first; then of the record before those the SHA-1 of its identity,
    and whether that is an id.
    """
    place = (cursor.position, cursor.length, cursor.covered)
    return ("EVAL_RO", _PAGE, 1, key, cursor.digest, cursor.older, limit, *place)


def counting(key: str, places: str) -> Command:
    """Return the script call that counts the records but not their duplicates; answers that, and its commands."""
    return ("EVAL_RO", _COUNT, 2, key, places)
