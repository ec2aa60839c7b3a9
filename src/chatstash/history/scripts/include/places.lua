-- Notes where batches stand that may have duplicates. The text is read by records/places.py.
--- @include "commands"
--- @include "identity"

-- The place of the first record of a batch, 0 for the oldest of all, and a digest of the record before it.
local function place_of(batch, place, older)
  local digest = older and string.sub(redis.sha1hex(identity(older)), 1, DIGEST_LENGTH) or ''
  return batch .. ':' .. place .. ':' .. digest
end

-- Settled batches come first, because their late request may still arrive; batches that were looked at follow. Each
-- section keeps its newest 50, so that looking at others makes no settled batch forgotten.
local function note_places(places, batches, are_settled)
  local settled, looked_at = {}, {}
  local old, section = {}, settled
  for entry in string.gmatch(call('GET', places) or '', '%S+') do
    local batch = string.sub(entry, 1, 16)
    if entry == '|' then section = looked_at
    elseif batches[batch] then old[batch] = section
    else section[#section + 1] = entry end
  end
  for batch, entry in pairs(batches) do
    section = (are_settled or old[batch] == settled) and settled or looked_at
    section[#section + 1] = entry
  end
  for _, entries in ipairs({settled, looked_at}) do
    while #entries > 50 do table.remove(entries, 1) end
  end
  local noted = table.concat(settled, ' ') .. ' | ' .. table.concat(looked_at, ' ')
  call('SET', places, noted, 'EX', IN_FLIGHT_TTL)
end
