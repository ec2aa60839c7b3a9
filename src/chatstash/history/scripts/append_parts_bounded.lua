#!lua flags=allow-key-locking
-- Appends the records of staged parts as append_parts_once does, and trims the oldest of a conversation whose storage is
-- bounded.
--
-- KEYS[1]     the conversation
-- KEYS[2]     the marker
-- KEYS[3..]   the parts, oldest first
-- ARGV[1]     seconds until the conversation expires; '' leaves its expiry as it is
-- ARGV[2]     the marker's value
-- ARGV[3]     seconds until the marker expires
-- ARGV[4..7]  the snapshot that a guarded turn read; '' four times where there is no turn
-- ARGV[8]     how many records to keep
-- Answer      {STORED, length, commands, EXPIRE's reply or error, replies}, or {REFUSED, length, commands, the marker's value or
--             the new records}
-- Cost        four commands and two for each part; one more with an expiry, two for a turn, and one or more where
--             records are trimmed

--- @include "marked"
--- @include "finish"
--- @include "parts"
--- @include "trim"

parts = {unpack(KEYS, 3)}
local refusal = refusal_by_marker()
if refusal then return answered(refusal) end
local failure = not are_complete() and expired() or push_parts()
discard()
if not failure then length = trim(length, tonumber(ARGV[8])) end
return finished(failure, KEYS[2])
