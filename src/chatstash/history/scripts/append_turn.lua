#!lua flags=allow-key-locking
-- Appends the records of a guarded turn, unless the conversation has changed.
--
-- KEYS[1]     the conversation
-- ARGV[1]     seconds until the conversation expires; '' leaves its expiry as it is
-- ARGV[2]     the batch
-- ARGV[3]     '1' where an earlier request may have been applied, or ''
-- ARGV[4..7]  the snapshot that the turn read
-- ARGV[8..]   the records, oldest first
-- Answer      {STORED, length, commands, EXPIRE's reply or error, replies}, {EARLIER, length, commands, 1} where the batch is
--             stored, or {REFUSED, length, commands, the new records}
-- Cost        four commands, three where the turn read nothing; one more with an expiry, and two or more to look for
--             the batch

--- @include "finish"
--- @include "unmarked"

local refusal = refusal_by_batch(ARGV[2], ARGV[3] ~= '')
if refusal then return refusal end
return finished(push(ARGV, 8, #ARGV))
