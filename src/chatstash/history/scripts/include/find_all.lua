-- Finds many records in one pass.
--- @include "find"

-- Returns the indexes of records and of all their duplicates, and how many records there are without the duplicates; and
-- the number of the first that is not there, if any. `words` has the letter and the name of each from `first` on.
local function find_all(words, first)
  local wanted, found, left, own_ids = {r = {}, m = {}, b = {}}, {r = {}, m = {}, b = {}}, 0, 0
  for at = first, #words, 2 do
    local names = wanted[words[at]]
    if not names[words[at + 1]] then
      names[words[at + 1]], left = true, left + 1
      if words[at] == 'm' then own_ids = own_ids + 1 end
    end
  end

  -- Decoding every record is slower than searching it for a few ids.
  local function own_id_among(raw)
    if own_ids > 20 then
      local id = own_id_of(raw)
      return id and wanted.m[id] and id
    end
    for id in pairs(wanted.m) do
      if has_own_id(raw, id) then return id end
    end
  end

  local function take(by, name)
    if by == 'm' then own_ids = own_ids - 1 end
    wanted[by][name], found[by][name], left = nil, true, left - 1
  end

  local places, count, removed, earliest = {}, 0, {}, math.huge
  scan(function(raw, index)
    local id = identity(raw)
    local has_id = id ~= raw
    local is_wanted = has_id and (removed[id] or wanted.r[id])
    if has_id and wanted.r[id] then take('r', id) end
    local own = own_ids > 0 and own_id_among(raw)
    if own then take('m', own) end
    if wanted.b[raw] then take('b', raw) is_wanted = true end
    if is_wanted or own then
      places[#places + 1] = index
      if not has_id or not removed[id] then count = count + 1 end
      if has_id then removed[id], earliest = true, math.min(earliest, time_of(id) - 1000 * IN_FLIGHT_TTL) end
    end
    return left == 0 and (not has_id and earliest == math.huge or has_id and time_of(id) < earliest)
  end)
  for at = first, #words, 2 do
    if not found[words[at]][words[at + 1]] then return nil, 0, (at - first) / 2 + 1 end
  end
  return places, count
end
