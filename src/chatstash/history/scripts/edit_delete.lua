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
--- @include "find_all"

local before = made_before()
if before then return before end
local places, count, missing = find_all(ARGV, 2)
if missing then return {0, ran, missing} end
for _, index in ipairs(places) do call('LSET', KEYS[1], index, 'chatstash:deleted') end
call('LREM', KEYS[1], #places, 'chatstash:deleted')
return edited(count, listed - #places)
