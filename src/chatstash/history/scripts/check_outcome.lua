#!lua flags=allow-key-locking
-- Tells whether a write was applied. A script, because a lagging replica may answer a plain read.
--
-- KEYS[1]  the conversation
-- KEYS[2]  the write's marker, where it has one
-- ARGV[1]  the batch; '' to look at the marker alone
-- ARGV[2]  seconds for which the marker calls the batch off where it is not stored; '' leaves the marker as it is
-- Answer   {1 if it was applied, or 0, commands, the marker's value where it is set}
-- Cost     two commands or more; one more to call the batch off

--- @include "batches"
--- @include "markers"

local batch, void_for = ARGV[1], ARGV[2]
local held = KEYS[2] and call('GET', KEYS[2])
if held and not is_void_of_another(held, batch) then return {1, ran, held} end
if batch ~= '' and is_stored(batch) then return {1, ran} end
if void_for ~= '' then call('SET', KEYS[2], void_of(batch), 'EX', void_for) end
return {0, ran}
