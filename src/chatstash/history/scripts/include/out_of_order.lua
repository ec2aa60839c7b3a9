-- Finds the batches that may have duplicates among records.
--- @include "batches"
--- @include "time"

-- Calls `suspect` with each batch, among records, whose place is noted: its late request may have arrived.
local function suspect_noted(newest, noted, suspect)
  for _, raw in ipairs(noted ~= '' and newest or {}) do
    local batch = batch_of(raw)
    if batch and string.find(noted, batch .. ':', 1, true) then suspect(batch) end
  end
end

-- Calls `suspect` with each batch, among records that are given newest first, that was written before its older neighbour
-- or begins again.
local function suspect_out_of_order(newest, suspect)
  local met, older, older_place = {}, nil, nil
  for at = #newest, 1, -1 do
    local batch = batch_of(newest[at])
    if batch then
      local id = identity(newest[at])
      local place = tonumber(string.match(id, '(%d+)/'))
      if met[id] or older and (time_of(batch) < time_of(older) or batch == older and place <= older_place) then
        suspect(batch)
      end
      met[id], older, older_place = true, batch, place
    end
  end
end
