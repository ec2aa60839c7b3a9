#!lua flags=allow-key-locking
-- Appends the records of staged parts in one step, unless their batch is stored or the conversation has changed.
--
-- KEYS[1]     the conversation
-- KEYS[2..]   the parts, oldest first
-- ARGV[1]     seconds until the conversation expires; '' leaves its expiry as it is
-- ARGV[2]     the batch
-- ARGV[3]     '1' where an earlier request may have been applied, or ''
-- ARGV[4..7]  the snapshot that a guarded turn read; '' four times where there is no turn
-- Answer      {STORED, length, commands, EXPIRE's reply or error, replies}, {EARLIER, length, commands, 1} where the batch is
--             stored, or {REFUSED, length, commands, the new records}
-- Cost        three commands and two for each part; one more with an expiry, two for a turn, and two or more to look for
--             the batch

--- @include "finish"
--- @include "parts"
--- @include "unmarked"

parts = {unpack(KEYS, 2)}
local refusal = refusal_by_batch(ARGV[2], ARGV[3] ~= '')
if refusal then return answered(refusal) end
local is_complete = are_complete()
if not is_complete and is_stored(ARGV[2]) then return answered({EARLIER, listed, ran, 1}) end
local failure = not is_complete and expired() or push_parts()
discard()
return finished(failure)
