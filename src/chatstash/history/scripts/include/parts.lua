-- The staged parts of an append, which are deleted whether or not the append goes ahead.
--- @include "push"

local parts
local function discard() call('DEL', unpack(parts)) end

local function answered(answer)
  discard()
  answer[3] = ran
  return answer
end

local function are_complete() return call('EXISTS', unpack(parts)) == #parts end

-- Appends the records of the parts, oldest first; returns the error where the database refuses them.
local function push_parts()
  for _, part in ipairs(parts) do
    local records = call('LRANGE', part, 0, -1)
    local failure = push(records, 1, #records)
    if failure then return failure end
  end
end

local function expired() return redis.error_reply('ERR a staged part of this append has expired') end
