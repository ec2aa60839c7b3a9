#!lua flags=allow-key-locking
-- Keeps the oldest of each record of some batches, and notes where the batches stand, so that no reader looks again.
--
-- KEYS[1]    the conversation
-- KEYS[2]    where the places of batches are noted
-- ARGV[1..]  the batches
-- Answer     {how many records it removed, commands, the places of the batches, ''}
-- Cost       five commands; one more for each duplicate and three where there are any; a few more where the
--            conversation has over 100 records

--- @include "generation"
--- @include "locate"

-- A removed record may have carried the generation: then another must.
local carried, noted = false, {}
for _, duplicate in ipairs(newer) do
  call('LSET', KEYS[1], duplicate[1], 'chatstash:duplicate')
  carried = carried or without_generation(duplicate[2]) ~= duplicate[2]
end
if #newer > 0 then call('LREM', KEYS[1], #newer, 'chatstash:duplicate') end
if carried then increase_generation() end
for batch, found in pairs(first) do
  local removed = 0
  for _, duplicate in ipairs(newer) do if duplicate[1] > found[1] then removed = removed + 1 end end
  noted[batch] = place_now(batch, removed)
end
note_places(KEYS[2], noted, false)
return {#newer, ran, listed_places(noted), ''}
