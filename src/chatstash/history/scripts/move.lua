#!lua flags=allow-key-locking
-- Moves a conversation and what is kept beside it to a key that is free.
--
-- KEYS[1]       the conversation
-- KEYS[2]       its new key
-- KEYS[3]       the marker of this moving
-- KEYS[4..9]    the alternatives, the draft and the quarantine, each with its new key
-- KEYS[10..15]  the index of the conversation, and its new one; none without an index
-- ARGV[1]       seconds until the marker expires
-- ARGV[2..7]    how to list it (include/session_moved.lua)
-- Answer        {1, commands, length}; {0, commands, 1} where there is no conversation, {0, commands, 2} where the key is
--               not free
-- Cost          seven commands; four to six more where there are companions, nine to eleven more with an index

--- @include "session_moved"

local done = call('GET', KEYS[3])
if done then return {1, ran, tonumber(done)} end
local length = call('LLEN', KEYS[1])
if length == 0 then return {0, ran, 1} end
if call('RENAMENX', KEYS[1], KEYS[2]) == 0 then return {0, ran, 2} end
-- A script that fails half-way is not undone.
local failure = listed_as(10, 2)
if failure then
  call('RENAME', KEYS[2], KEYS[1])
  return failure
end
-- Another program may have deleted a conversation of the new id without what was beside it.
call('DEL', KEYS[5], KEYS[7], KEYS[9])
local beside = call('EXISTS', KEYS[4], KEYS[6], KEYS[8])
for at = 4, beside > 0 and 8 or 0, 2 do
  if call('EXISTS', KEYS[at]) == 1 then call('RENAME', KEYS[at], KEYS[at + 1]) end
end
unlist_source(10, 2)
call('SET', KEYS[3], length, 'EX', ARGV[1])
return {1, ran, length}
