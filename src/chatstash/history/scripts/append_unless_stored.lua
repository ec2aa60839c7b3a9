#!lua flags=allow-key-locking
-- Appends records whose first request may have been lost, unless they are stored. Notes where they stand: the first
-- request may still arrive and leave duplicates.
--
-- KEYS[1]    the conversation
-- KEYS[2]    where the places of batches are noted
-- ARGV[1]    seconds until the conversation expires; '' leaves its expiry as it is
-- ARGV[2]    the batch
-- ARGV[3..]  the records, oldest first
-- Answer     {STORED, length, commands, EXPIRE's reply or error, replies}, or {EARLIER, length, commands, 1}
-- Cost       three commands where the batch is among the newest records; otherwise at least seven, one more with an expiry

--- @include "batches"
--- @include "places"
--- @include "finish"

local batch = ARGV[2]
if is_stored(batch) then return {EARLIER, listed, ran, 1} end
local answer = finished(push(ARGV, 3, #ARGV))
if answer.err then return answer end
local place = place_of(batch, length - pushed, call('LINDEX', KEYS[1], pushed))
note_places(KEYS[2], {[batch] = place}, true)
answer[3] = ran
return answer
