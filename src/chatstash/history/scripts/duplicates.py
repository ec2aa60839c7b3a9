"""The scripts that remove, locate and count past duplicates. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from chatstash.history.records.generation import COUNT_UP
from chatstash.history.scripts.pieces import COUNTED, SCAN
from chatstash.history.steps.places import NOTE_PLACES, PLACE
from chatstash.rest.commands import KEY_LOCKING, READING, Command

# The place of a batch whose first records were trimmed is where its first would be.
_LOCATE = f"""{PLACE}
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
_REMOVE_DUPLICATES = f"""{KEY_LOCKING}{COUNTED}{SCAN}{NOTE_PLACES}{_LOCATE}
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

_LOCATE_DUPLICATES = f"""{READING}{COUNTED}{SCAN}{_LOCATE}
local doubled, batches, places = {{}}, {{}}, {{}}
for _, copy in ipairs(newer) do doubled[batch_of(copy[2])] = true end
for batch in pairs(doubled) do batches[#batches + 1] = batch end
for batch in pairs(first) do places[batch] = place_now(batch, 0) end
return {{#newer, ran, listed_places(places), table.concat(batches, ' ')}}
"""

# Of the batches whose place is noted, and of those among the newest hundred that may be duplicates by their times (a
# batch's first eight characters): one that came after its older neighbour was written before it, or begins anew.
_COUNT = f"""{READING}{COUNTED}{SCAN}
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


def counting(key: str, places: str) -> Command:
    """Return the script call that counts the records but not their duplicates; answers that, and its commands."""
    return ("EVAL_RO", _COUNT, 2, key, places)
