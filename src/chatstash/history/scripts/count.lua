#!lua flags=no-writes,allow-key-locking
-- Counts the records of a conversation without their duplicates.
--
-- KEYS[1]  the conversation
-- KEYS[2]  where the places of batches are noted
-- Answer   {how many records there are, commands}
-- Cost     four commands; a few more where there may be duplicates

--- @include "batches"
--- @include "out_of_order"

listed = call('LLEN', KEYS[1])
local suspects = {}
local function suspect(batch) suspects[#suspects + 1] = batch end

-- A batch whose place is noted may have duplicates.
for entry in string.gmatch(call('GET', KEYS[2]) or '', '%S+') do
  if entry ~= '|' then suspect(string.sub(entry, 1, 16)) end
end

-- So may one of the newest hundred records that is out of order.
suspect_out_of_order(call('LRANGE', KEYS[1], 0, 99), suspect)
if #suspects == 0 then return {listed, ran} end

local seen, duplicates = {}, 0
scan(function(raw)
  if batch_among(raw, suspects) then
    local id = identity(raw)
    if seen[id] then duplicates = duplicates + 1 end
    seen[id] = true
  end
end)
return {listed - duplicates, ran}
