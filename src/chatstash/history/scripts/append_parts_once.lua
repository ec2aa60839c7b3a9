#!lua flags=allow-key-locking
-- Appends the records of staged parts in one step and sets their marker, unless the marker is set or the conversation has
-- changed.
--
-- KEYS[1]     the conversation
-- KEYS[2]     the marker
-- KEYS[3..]   the parts, oldest first
-- ARGV[1]     seconds until the conversation expires; '' leaves its expiry as it is
-- ARGV[2]     the marker's value
-- ARGV[3]     seconds until the marker expires
-- ARGV[4..7]  the snapshot that a guarded turn read; '' four times where there is no turn
-- Answer      {STORED, length, commands, EXPIRE's reply or error, replies}, or {REFUSED, length, commands, the marker's value or
--             the new records}
-- Cost        four commands and two for each part; one more with an expiry, and two for a turn

--- @include "marked"
--- @include "finish"
--- @include "parts"

parts = {unpack(KEYS, 3)}
local refusal = refusal_by_marker()
if refusal then return answered(refusal) end
local failure = not are_complete() and expired() or push_parts()
discard()
return finished(failure, KEYS[2])
