#!lua flags=no-writes,allow-key-locking
-- Finds the duplicates of some batches, and changes nothing.
--
-- KEYS[1]    the conversation
-- ARGV[1..]  the batches
-- Answer     {how many duplicates there are, commands, the places of the batches, the batches that have duplicates}
-- Cost       three commands; a few more where the conversation has over 100 records

--- @include "locate"

local doubled, batches, places = {}, {}, {}
for _, duplicate in ipairs(newer) do doubled[batch_of(duplicate[2])] = true end
for batch in pairs(doubled) do batches[#batches + 1] = batch end
for batch in pairs(first) do places[batch] = place_now(batch, 0) end
return {#newer, ran, listed_places(places), table.concat(batches, ' ')}
