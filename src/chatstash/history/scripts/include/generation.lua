-- The generation of a conversation: the number that an edit in place counts up, in the newest record that has an id.
-- The same as records/generation.py.
--- @include "commands"
--- @include "identity"

local function without_generation(raw)
  local generation = identity(raw) ~= raw and string.match(string.sub(raw, -16), ',"g":(%d+)}$')
  return generation and string.sub(raw, 1, -7 - #generation) .. '}' or raw
end

-- Among the newest 200 records: no reader looks for its newest record further back.
local function count_up_generation()
  for place, raw in ipairs(call('LRANGE', KEYS[1], 0, 199)) do
    if identity(raw) ~= raw then
      local bare = without_generation(raw)
      local generation = bare == raw and 0 or tonumber(string.match(raw, '%d+', #bare))
      local following = generation % 999999999 + 1
      call('LSET', KEYS[1], place - 1, string.sub(bare, 1, -2) .. ',"g":' .. following .. '}')
      return
    end
  end
end
