#!lua flags=allow-key-locking
-- Appends the records of a guarded turn in place of the newest ones, which become an alternative, unless the conversation
-- has changed.
--
-- KEYS[1]    the conversation
-- KEYS[2]    the marker
-- KEYS[3]    the alternatives
-- KEYS[4..]  the staged parts of the records, oldest first, or none
-- ARGV[1]    seconds until the conversation expires; '' leaves its expiry as it is
-- ARGV[2]    the marker's value
-- ARGV[3]    seconds until the marker expires
-- ARGV[4..7]  the snapshot that the turn read
-- ARGV[8]    how many records to keep; '' for all
-- ARGV[9]    how the first record to replace is named: r, m or b (include/find.lua)
-- ARGV[10]   its id or its bytes
-- ARGV[11]   the name of the alternative
-- ARGV[12]   seconds until the alternatives expire
-- ARGV[13..]  the records, oldest first; none where they were staged
-- Answer     {STORED, length, commands, EXPIRE's reply or error, replies}, or {REFUSED, length, commands, the marker's
--            value or the new records}
-- Cost       fourteen commands; one more with an expiry, one and two for each part where they were staged, and one or more
--            where records are trimmed

--- @include "alternatives"
--- @include "finish"
--- @include "find"
--- @include "generation"
--- @include "marked"
--- @include "trim"

-- Returns the records and the places of the first and last; nil where a staged part has expired.
local function records_given()
  if not KEYS[4] then return ARGV, 13, #ARGV end
  local parts, records = {unpack(KEYS, 4)}, {}
  local are_complete = call('EXISTS', unpack(parts)) == #parts
  for _, part in ipairs(parts) do
    for _, raw in ipairs(call('LRANGE', part, 0, -1)) do records[#records + 1] = raw end
  end
  call('DEL', unpack(parts))
  if are_complete then return records, 1, #records end
end

local refusal = refusal_by_marker()
if refusal then return refusal end
local index = find(ARGV[9], ARGV[10])
local records, first, last = records_given()
if not index or not records then
  return finished(redis.error_reply('ERR the record to replace, or a staged part, is gone'), KEYS[2])
end
local failure = put_aside(KEYS[3], ARGV[11], ARGV[12], index + 1, records, first, last)
if failure then
  pushed = 0
  return finished(failure, KEYS[2])
end
if ARGV[8] ~= '' then length = trim(length, tonumber(ARGV[8])) end
increase_generation()
return finished(nil, KEYS[2])
