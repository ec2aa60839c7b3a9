#!lua flags=allow-key-locking
-- Appends the records of a guarded turn and sets their marker, unless the marker is set or the conversation has changed.
--
-- KEYS[1]     the conversation
-- KEYS[2]     the marker
-- ARGV[1]     seconds until the conversation expires; '' leaves its expiry as it is
-- ARGV[2]     the marker's value
-- ARGV[3]     seconds until the marker expires
-- ARGV[4..7]  the snapshot that the turn read
-- ARGV[8..]   the records, oldest first
-- Answer      {STORED, length, commands, EXPIRE's reply or error, replies}, or {REFUSED, length, commands, the marker's value or
--             the new records}
-- Cost        five commands, four where the turn read nothing; one more with an expiry

--- @include "marked"
--- @include "finish"

local refusal = refusal_by_marker()
if refusal then return refusal end
return finished(push(ARGV, 8, #ARGV), KEYS[2])
