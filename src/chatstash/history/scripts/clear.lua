#!lua flags=allow-key-locking
-- Deletes a conversation and all that is kept beside it, unless the marker shows that this was done.
--
-- KEYS[1]  the conversation
-- KEYS[2]  the marker of this clearing
-- ARGV[1]  seconds until the marker expires
-- Answer   {1 if there was a conversation, or 0, commands}
-- Cost     three commands; four where there was none, two where the marker is set; and the commands that go along

--- @include "along"

local done = call('SET', KEYS[2], '1', 'NX', 'GET', 'EX', ARGV[1])
if done then return {tonumber(done), ran} end
local deleted = call('DEL', KEYS[1])
if deleted == 0 then call('SET', KEYS[2], '0', 'EX', ARGV[1]) end
ran_along()
return {deleted, ran}
