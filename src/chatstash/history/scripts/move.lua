#!lua flags=allow-key-locking
-- Moves a conversation and what is kept beside it to a key that is free.
--
-- KEYS[1]       the conversation
-- KEYS[2]       its new key
-- KEYS[3]       the marker of this moving
-- KEYS[4..7]    the alternatives and the quarantine, each with its new key
-- KEYS[8..13]   the index of the conversation, and its new one; none without an index
-- ARGV[1]       seconds until the marker expires
-- ARGV[2..7]    how to list it (include/session_moved.lua)
-- Answer        {1, commands, length}; {0, commands, 1} where there is no conversation, {0, commands, 2} where the key is
--               not free
-- Cost          eight commands; one more for each companion, nine to eleven more with an index

--- @include "session_moved"

local done = call('GET', KEYS[3])
if done then return {1, ran, tonumber(done)} end
if call('EXISTS', KEYS[1]) == 0 then return {0, ran, 1} end
if call('RENAMENX', KEYS[1], KEYS[2]) == 0 then return {0, ran, 2} end
for at = 4, 6, 2 do
  if call('EXISTS', KEYS[at]) == 1 then call('RENAME', KEYS[at], KEYS[at + 1]) end
end
listed_as(8, 2)
unlist_source(8, 2)
local length = call('LLEN', KEYS[2])
call('SET', KEYS[3], length, 'EX', ARGV[1])
return {1, ran, length}
