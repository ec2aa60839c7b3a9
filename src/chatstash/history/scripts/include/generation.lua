-- The generation of a conversation: the number that an edit in place changes, in the newest record that has an id.
-- The same as records/generation.py.
--- @include "commands"
--- @include "identity"

local function without_generation(raw)
  local generation = identity(raw) ~= raw and string.match(string.sub(raw, -16), ',"g":(%d+)}$')
  return generation and string.sub(raw, 1, -7 - #generation) .. '}' or raw
end

-- By how much this script increases the generation. Each edit has another step, so that a conversation and its copy,
-- such as a fork or a backup that is restored, do not get the same generation by different edits.
local function step()
  local edit = table.concat(KEYS, ' ') .. ' ' .. table.concat(ARGV, ' ', 1, math.min(3, #ARGV))
  return 1 + tonumber(string.sub(redis.sha1hex(edit), 1, 7), 16)
end

-- Among the newest 200 records: no reader looks for its newest record further back.
local function increase_generation()
  for place, raw in ipairs(call('LRANGE', KEYS[1], 0, 199)) do
    if identity(raw) ~= raw then
      local bare = without_generation(raw)
      local generation = bare == raw and 0 or tonumber(string.match(raw, '%d+', #bare))
      local following = (generation + step() - 1) % 999999999 + 1
      call('LSET', KEYS[1], place - 1, string.sub(bare, 1, -2) .. ',"g":' .. following .. '}')
      return
    end
  end
end
