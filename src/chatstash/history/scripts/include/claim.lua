-- Sets the marker of an append unless it is set already; returns the value it held, or false.
--
-- KEYS[2]  the marker
-- ARGV[2]  its value
-- ARGV[3]  seconds until it expires
--- @include "markers"

local function claim()
  local held = call('SET', KEYS[2], ARGV[2], 'NX', 'GET', 'EX', ARGV[3])
  if held and is_void_of_another(held, batch_in(ARGV[2])) then
    call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
    return false
  end
  return held
end
