#!lua flags=allow-key-locking
-- Copies a conversation, or its records up to one, to a key that is free.
--
-- KEYS[1]     the conversation
-- KEYS[2]     the copy
-- KEYS[3]     the marker of this copying
-- KEYS[4..6]  the alternatives, the draft and the quarantine of the copy
-- KEYS[7..12]  the index of the conversation, and that of the copy; none without an index
-- ARGV[1]     seconds until the marker expires
-- ARGV[2]     seconds until the copy expires; '' for the expiry of the conversation
-- ARGV[3]     how the newest record to copy is named: r, m or b (include/find.lua); '' for all records
-- ARGV[4]     its id or its bytes
-- ARGV[5..10]  how to list the copy (include/session_moved.lua)
-- Answer      {1, commands, length}; {0, commands, 1} where there is no such record, {0, commands, 2} where the key is not
--             free
-- Cost        seven commands; two more for a part, one more with an expiry, four to six more with an index

--- @include "find"
--- @include "session_moved"

local done = call('GET', KEYS[3])
if done then return {1, ran, tonumber(done)} end
listed = call('LLEN', KEYS[1])
if call('EXISTS', KEYS[2]) == 1 then return {0, ran, 2} end
local index = listed > 0 and (ARGV[3] == '' and 0 or find(ARGV[3], ARGV[4]))
if not index then return {0, ran, 1} end
call('COPY', KEYS[1], KEYS[2])
if index > 0 then call('LTRIM', KEYS[2], index, -1) end
if ARGV[2] ~= '' then call('EXPIRE', KEYS[2], ARGV[2]) end
-- A script that fails half-way is not undone.
local failure = listed_as(7, 5)
if failure then
  call('DEL', KEYS[2])
  return failure
end
-- Another program may have deleted a conversation of the new id without what was beside it.
call('DEL', KEYS[4], KEYS[5], KEYS[6])
call('SET', KEYS[3], listed - index, 'EX', ARGV[1])
return {1, ran, listed - index}
