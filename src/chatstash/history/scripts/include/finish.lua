-- Ends an append: sets the expiry, or undoes what was appended.
--
-- ARGV[1]  seconds until the conversation expires; '' leaves its expiry as it is
--- @include "along"
--- @include "push"

-- Sets the expiry, runs the commands that go along, and returns the script's answer: EXPIRE's reply or the text of its
-- error, 1 where there is nothing to set; and the replies to the commands, if any. Where the push was refused, removes
-- what it left, and the marker if there is one, before any client can see it.
local function finished(failure, marker)
  if failure then
    if pushed > 0 then call('LPOP', KEYS[1], pushed) end
    if marker then call('DEL', marker) end
    return failure
  end
  local expiry = ARGV[1] == '' and 1 or try('EXPIRE', KEYS[1], ARGV[1])
  local replies = ran_along()
  return {STORED, length, ran, type(expiry) == 'table' and expiry.err or expiry, replies}
end
