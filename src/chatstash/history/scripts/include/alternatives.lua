-- The newest records of a conversation that were replaced by others, in a hash: one field for each alternative. A value
-- names the record before them, its anchor, and has the records, newest first, each with its length before it. Read by
-- records/alternatives.py, too.
--- @include "find"
--- @include "push"

-- Returns the name of the record at an index, which is the anchor of those newer than it.
local function anchor_at(index)
  local raw = call('LINDEX', KEYS[1], index)
  if not raw then return 's' end
  local id = identity(raw)
  return id ~= raw and 'r' .. id or 'h' .. redis.sha1hex(raw)
end

-- Returns the index of an anchor, 0 for the newest record; nil where it is gone.
local function index_of_anchor(anchor)
  local by, name, found = string.sub(anchor, 1, 1), string.sub(anchor, 2), nil
  listed = listed or call('LLEN', KEYS[1])
  if by == 's' then return listed end
  if by == 'r' then return (find(by, name)) end
  scan(function(raw, index)
    if redis.sha1hex(raw) == name then found = index end
    return found
  end)
  return found
end

local function packed(anchor, records)
  local parts = {anchor, '\n'}
  for _, raw in ipairs(records) do
    parts[#parts + 1] = #raw .. ':'
    parts[#parts + 1] = raw
  end
  return table.concat(parts)
end

-- Returns the anchor of an alternative, and its records, oldest first; nil where others damaged the value.
local function unpacked(value)
  local anchor, at = string.match(value, '^(.-)\n()')
  if not anchor then return nil end
  local records = {}
  while at <= #value do
    local length, start = string.match(value, '^(%d+):()', at)
    if not start or start + length - 1 > #value then return anchor end
    table.insert(records, 1, string.sub(value, start, start + length - 1))
    at = start + length
  end
  return anchor, records
end

-- Puts the newest `count` records aside, and others in their place; returns the error where the database refuses those,
-- and leaves everything as it was. The expiry stays, also where all records are replaced.
local function put_aside(aside, name, ttl, count, records, first, last)
  local expiry = call('PTTL', KEYS[1])
  local tail = count > 0 and call('LRANGE', KEYS[1], 0, count - 1) or {}
  if count > 0 then
    local stored = try('HSET', aside, name, packed(anchor_at(count), tail))
    if type(stored) == 'table' then return stored end
    call('EXPIRE', aside, ttl)
    call('LTRIM', KEYS[1], count, -1)
  end
  local failure = push(records, first, last)
  if failure then
    if pushed > 0 then call('LPOP', KEYS[1], pushed) end
    for at = #tail, 1, -1 do call('LPUSH', KEYS[1], tail[at]) end
    if count > 0 then call('HDEL', aside, name) end
  end
  if expiry > 0 and count == (listed or 0) then call('PEXPIRE', KEYS[1], expiry) end
  return failure
end
