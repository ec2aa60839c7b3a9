-- Finds a record by its name. The letter before says how it is named: r, by its id; m, by the id that a framework gave the
-- message; b, by all its bytes.
--- @include "batches"
--- @include "json"
--- @include "time"

-- Returns the id that a framework gave the message of a record, or nil.
local function own_id_of(raw)
  local record = decoded_json(raw)
  local data = type(record) == 'table' and record.data
  return type(data) == 'table' and type(data.id) == 'string' and data.id or nil
end

-- A record that has the text of the id nowhere is not decoded, unless the id may be written with escapes.
local function has_own_id(raw, wanted)
  local may_be_escaped = string.find(wanted, '[^%w_.:-]')
  return (may_be_escaped or string.find(raw, wanted, 1, true)) and own_id_of(raw) == wanted
end

local function is_named(raw, by, wanted)
  if by == 'r' then return raw ~= wanted and identity(raw) == wanted end
  if by == 'm' then return has_own_id(raw, wanted) end
  return raw == wanted
end

-- Returns the index of a record, 0 for the newest, and its bytes; nil where there is none. Of several records with one
-- name, the newest is meant; of its duplicates the oldest counts. A duplicate was written at most an hour after the
-- records before it.
local function find(by, wanted)
  local found, bytes, earliest
  scan(function(raw, index)
    if is_named(raw, by, wanted) then
      found, bytes = index, raw
      local id = identity(raw)
      if id == raw then return true end
      by, wanted, earliest = 'r', id, time_of(id) - 1000 * IN_FLIGHT_TTL
    end
    local batch = found and batch_of(raw)
    return batch and time_of(batch) < earliest
  end)
  return found, bytes
end
