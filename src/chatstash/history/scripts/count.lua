#!lua flags=no-writes,allow-key-locking
-- Counts the records of a conversation without their duplicates.
--
-- KEYS[1]  the conversation
-- KEYS[2]  where the places of batches are noted
-- Answer   {how many records there are, commands}
-- Cost     four commands; a few more where there may be duplicates

--- @include "batches"

-- The writing time of a batch is its first eight characters, base64.
local order = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
local function time_of(batch)
  local time = 0
  for at = 1, 8 do time = time * 64 + string.find(order, string.sub(batch, at, at), 1, true) - 1 end
  return time
end

listed = call('LLEN', KEYS[1])
local suspects = {}
local function suspect(batch) suspects[#suspects + 1] = batch end

-- A batch whose place is noted may have duplicates.
for entry in string.gmatch(call('GET', KEYS[2]) or '', '%S+') do
  if entry ~= '|' then suspect(string.sub(entry, 1, 16)) end
end

-- So may one of the newest hundred records that was written before its older neighbour, or that begins its batch again.
local newest, met, older, older_place = call('LRANGE', KEYS[1], 0, 99), {}, nil, nil
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
