-- Sets the expiry of a key, unless it expires later: others may have set it for sessions that live longer.
--- @include "commands"

local function prolong(key, seconds)
  if call('EXPIRE', key, seconds, 'GT') == 0 then call('EXPIRE', key, seconds, 'NX') end
end
