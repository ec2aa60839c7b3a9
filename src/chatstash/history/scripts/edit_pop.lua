#!lua flags=allow-key-locking
-- Removes the newest messages, unless some of them may be duplicates, which no reader sees.
--
-- KEYS[1]  the conversation
-- KEYS[2]  the marker of this edit
-- KEYS[3]  where the places of batches are noted
-- ARGV[1]  seconds until the marker expires
-- ARGV[2]  how many to remove
-- ARGV[3]  '1' to remove them even then, or ''
-- Answer   {1, commands, how many were removed, how many are left}, or {0, commands, 0, the batches that may have
--          duplicates}
-- Cost     nine commands

--- @include "edit"
--- @include "out_of_order"

local before = made_before()
if before then return before end
local wanted, suspects = tonumber(ARGV[2]), {}
local function suspect(batch) suspects[#suspects + 1] = batch end
local newest = call('LRANGE', KEYS[1], 0, wanted + 3)
if ARGV[3] == '' then
  suspect_noted(newest, call('GET', KEYS[3]) or '', suspect)
  suspect_out_of_order(newest, suspect)
end
if #suspects > 0 then return {0, ran, 0, suspects} end
local removed = math.min(wanted, #newest)
if removed > 0 then call('LTRIM', KEYS[1], removed, -1) end
return edited(removed, call('LLEN', KEYS[1]))
