-- Appends records to the conversation.
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
