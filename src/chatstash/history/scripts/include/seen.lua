-- A repair goes ahead only where each record that it rests on is still where it was seen. ARGV has the index and the
-- SHA-1 of each from ARGV[4] on; '' for none.
--- @include "commands"
--- @include "generation"

local function is_as_seen()
  for at = 4, #ARGV, 2 do
    local raw = call('LINDEX', KEYS[1], ARGV[at])
    if (raw and redis.sha1hex(without_generation(raw)) or '') ~= ARGV[at + 1] then return false end
  end
  return true
end
