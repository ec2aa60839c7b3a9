-- Appends records to the conversation, all or none, and sets its expiry.
--
-- ARGV[1]  seconds until the conversation expires; '' leaves its expiry as it is
--- @include "commands"

local pushed, length = 0, 0

-- Appends records, oldest first; returns the error where the database refuses them. unpack takes at most 8000 values.
local function push(records, first, last)
  for from = first, last, 4000 do
    local upto = math.min(from + 3999, last)
    length = try('LPUSH', KEYS[1], unpack(records, from, upto))
    if type(length) == 'table' then return length end
    pushed = pushed + upto - from + 1
  end
end

-- Removes what a refused push left, before any client can see it; and the marker, if there is one.
local function undo(marker)
  if pushed > 0 then call('LPOP', KEYS[1], pushed) end
  if marker then call('DEL', marker) end
end

-- Returns EXPIRE's reply or the text of its error; 1 where there is nothing to set.
local function set_expiry()
  if ARGV[1] == '' then return 1 end
  local expiry = try('EXPIRE', KEYS[1], ARGV[1])
  return type(expiry) == 'table' and expiry.err or expiry
end
