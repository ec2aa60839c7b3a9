#!lua flags=allow-key-locking
-- Sets the title or the metadata of a session that is on an index.
--
-- KEYS[1]  the sorted set of sessions in stores without a ttl
-- KEYS[2]  the sorted set of the others
-- KEYS[3]  the hash with the times, titles and metadata of sessions
-- ARGV[1]  the session's id
-- ARGV[2]  '1' to change the title only where none was set, or ''
-- ARGV[3]  'title' or 'metadata', or ''
-- ARGV[4]  its new value; '' to remove it
-- ARGV[5]  'title' or 'metadata', or ''
-- ARGV[6]  its new value; '' to remove it
-- Answer   {1 if the session is on the index, or 0, commands, its scores and the values of its fields}
-- Cost     five commands, two more for each change, three with an expiry; two where the session is not on the index

--- @include "commands"
--- @include "session_fields"

local fields = fields_of(ARGV[1])
local begun, untitled, title, metadata = unpack(fields)
local field_of = {title = title, metadata = metadata}

-- HSET takes away the expiry of a field, so it is set again: that of the session.
local function set(field, value)
  if value == '' then return call('HDEL', KEYS[3], field) end
  call('HSET', KEYS[3], field, value)
  local left = try('HPTTL', KEYS[3], 'FIELDS', 2, begun, untitled)
  local longest = left.err and -1 or math.max(left[1], left[2])
  if longest > 0 then call('HPEXPIRE', KEYS[3], longest, 'FIELDS', 1, field) end
end

local values = call('HMGET', KEYS[3], unpack(fields))
if not values[1] and not values[2] then return {0, ran} end
local lasting, expiring = call('ZSCORE', KEYS[1], ARGV[1]), call('ZSCORE', KEYS[2], ARGV[1])
if not lasting and not expiring then return {0, ran} end
for at = 3, 5, 2 do
  local field = field_of[ARGV[at]]
  local is_kept = field == title and ARGV[2] == '1' and values[3]
  if field and not is_kept then set(field, ARGV[at + 1]) end
end
values = call('HMGET', KEYS[3], unpack(fields))
return {1, ran, lasting, expiring, values}
