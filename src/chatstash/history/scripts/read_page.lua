#!lua flags=no-writes,allow-key-locking
-- Finds the record of a cursor, and reads the records older than it.
--
-- KEYS[1]  the conversation
-- ARGV[1]  SHA-1 of the record's id, or of the records that the cursor covers
-- ARGV[2]  SHA-1 of the id of the record before it
-- ARGV[3]  how many records to read
-- ARGV[4]  the record's place when the cursor was made, 0 for the oldest
-- ARGV[5]  how many records there were
-- ARGV[6]  how many records the cursor covers; 0 where it goes by an id
-- Answer   {place, length, commands, the records newest first, the SHA-1 of the identity of the record before those,
--          1 if that is an id, or 0}, or {-1, length, commands} where the record is not found
-- Cost     five commands; a few more in long conversations

--- @include "commands"
--- @include "identity"

local wanted, older, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
local position, known_length, covered = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local length, place = call('LLEN', KEYS[1]), nil

local function name_of(record)
  local name = identity(record)
  return redis.sha1hex(name), name ~= record
end

-- Records without ids must be where they were, because others may equal them.
local function look_at_its_place()
  local digests = {}
  for _, record in ipairs(call('LRANGE', KEYS[1], -position - covered, -position)) do
    table.insert(digests, 1, (name_of(record)))
  end
  if length >= known_length and redis.sha1hex(table.concat(digests)) == wanted then place = position end
end

-- From the oldest record on, because of duplicates the oldest counts.
local function look_everywhere()
  local after_older
  for from = 0, length - 1, 100 do
    local records = call('LRANGE', KEYS[1], -from - 100, -from - 1)
    for at = #records, 1, -1 do
      local digest, is_id = name_of(records[at])
      if is_id and digest == wanted then place = from + #records - at return end
      if is_id and digest == older then after_older = after_older or from + #records - at + 1 end
    end
  end
  place = after_older
end

if covered > 0 then look_at_its_place() else look_everywhere() end
if not place then return {-1, length, ran} end
local page = place > 0 and call('LRANGE', KEYS[1], -place, math.min(-1, limit - place - 1)) or {}
local digest, is_id = name_of(place > limit and call('LINDEX', KEYS[1], limit - place) or '')
return {place, length, ran, page, digest, is_id and 1 or 0}
