-- An edit is made once, even if its request is sent again: its marker holds the answer.
--
-- KEYS[2]  the marker
-- ARGV[1]  seconds until the marker expires
--- @include "commands"
--- @include "generation"

-- Returns the answer of an edit that was made before, or nil.
local function made_before()
  local held = call('GET', KEYS[2])
  if not held then return nil end
  local removed, length = string.match(held, '(%d+) (%d+)')
  return {1, ran, tonumber(removed), tonumber(length)}
end

-- Returns the answer of an edit, given how many records it removed and how many are left.
local function edited(removed, length)
  increase_generation()
  call('SET', KEYS[2], removed .. ' ' .. length, 'EX', ARGV[1])
  return {1, ran, removed, length}
end
