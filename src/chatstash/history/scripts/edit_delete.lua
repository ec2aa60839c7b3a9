#!lua flags=allow-key-locking
-- Removes messages, all or none.
--
-- KEYS[1]    the conversation
-- KEYS[2]    the marker of this edit
-- ARGV[1]    seconds until the marker expires
-- ARGV[2..]  for each record how it is named, r, m or b (include/find.lua), and its id or its bytes
-- Answer     {1, commands, how many were removed, how many are left}, or {0, commands, the number of the first that is
--            not there}
-- Cost       eight commands, and one for each record; a few more where a record is not among the newest hundred

--- @include "edit"
--- @include "find"

local before = made_before()
if before then return before end
local places, count = {}, 0
for at = 2, #ARGV, 2 do
  local index, _, duplicates = find(ARGV[at], ARGV[at + 1])
  if not index then return {0, ran, at / 2} end
  if not places[index] then places[index], count = true, count + 1 end
  for _, duplicate in ipairs(duplicates) do places[duplicate] = true end
end
local removed = 0
for index in pairs(places) do
  call('LSET', KEYS[1], index, 'chatstash:deleted')
  removed = removed + 1
end
call('LREM', KEYS[1], removed, 'chatstash:deleted')
return edited(count, listed - removed)
