-- Looks for the records of a batch: those that one append wrote, whose ids begin with the same 16 characters.
--- @include "commands"
--- @include "identity"

local function batch_of(raw)
  local id = identity(raw)
  return id ~= raw and string.sub(id, 1, 16) or nil
end

-- Visits the records, newest first, until a visit returns true. The newest are read first and once, because most searches
-- end there; the slices double, because each costs a command.
local listed, newest
local function scan(visit)
  listed = listed or call('LLEN', KEYS[1])
  newest = newest or listed > 0 and call('LRANGE', KEYS[1], 0, 99)
  local from, size = 0, 100
  while from < listed do
    for place, raw in ipairs(from == 0 and newest or call('LRANGE', KEYS[1], from, from + size - 1)) do
      if visit(raw, from + place - 1) then return true end
    end
    from, size = from + size, math.min(2 * size, 5000)
  end
  return false
end

-- Comparing the end of a record first is cheaper than matching a pattern.
local function batch_among(raw, batches)
  for _, batch in ipairs(batches) do
    if string.find(raw, batch, -90, true) and batch_of(raw) == batch then return batch end
  end
end

-- A batch is stored if any of its records is: the one definition.
local function is_stored(batch)
  return scan(function(raw) return batch_among(raw, {batch}) end)
end
