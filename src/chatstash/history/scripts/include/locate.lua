-- Finds the records of the batches in ARGV: of each record the oldest stands, and newer ones are duplicates.
--- @include "batches"
--- @include "places"

local wanted, oldest, newer, first, older = {}, {}, {}, {}, {}
for _, batch in ipairs(ARGV) do wanted[batch] = true end
local previous
scan(function(raw, index)
  local batch = batch_of(raw)
  if previous and previous ~= batch then older[previous] = raw end
  previous = wanted[batch or ''] and batch or nil
  if not previous then return end
  local id = identity(raw)
  if oldest[id] then newer[#newer + 1] = oldest[id] end
  oldest[id], older[batch] = {index, raw}, nil
  first[batch] = {index, tonumber(string.match(id, '%.(%d+)'))}
end)

-- Where the first records of a batch were trimmed, its place is where its first record would be.
local function place_now(batch, removed)
  local index, position = unpack(first[batch])
  return place_of(batch, listed - 1 - index - position - removed, older[batch])
end

local function listed_places(places)
  local entries = {}
  for _, entry in pairs(places) do entries[#entries + 1] = entry end
  return table.concat(entries, ' ')
end
