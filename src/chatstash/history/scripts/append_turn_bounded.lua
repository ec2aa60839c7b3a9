#!lua flags=allow-key-locking
-- Appends the records of a guarded turn as append_turn_once does, and trims the oldest of a conversation whose storage is
-- bounded.
--
-- KEYS[1]     the conversation
-- KEYS[2]     the marker
-- ARGV[1]     seconds until the conversation expires; '' leaves its expiry as it is
-- ARGV[2]     the marker's value
-- ARGV[3]     seconds until the marker expires
-- ARGV[4..7]  the snapshot that the turn read
-- ARGV[8]     how many records to keep
-- ARGV[9..]   the records, oldest first
-- Answer      {STORED, length, commands, EXPIRE's reply or error, replies}, or {REFUSED, length, commands, the marker's value or
--             the new records}
-- Cost        five commands, four where the turn read nothing; one more with an expiry, and one or more where records
--             are trimmed

--- @include "marked"
--- @include "finish"
--- @include "trim"

local refusal = refusal_by_marker()
if refusal then return refusal end
local failure = push(ARGV, 9, #ARGV)
if not failure then length = trim(length, tonumber(ARGV[8])) end
return finished(failure, KEYS[2])
