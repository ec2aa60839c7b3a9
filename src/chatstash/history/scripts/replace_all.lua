#!lua flags=allow-key-locking
-- Replaces all records of a conversation; once, even if the request is sent again.
--
-- KEYS[1]    the conversation
-- KEYS[2]    the marker of this call
-- ARGV[1]    seconds until the marker expires
-- ARGV[2]    seconds until the conversation expires; '' for never
-- ARGV[3..]  the records, oldest first
-- Answer     {how many records there are, commands, the replies to the commands that go along}
-- Cost       four commands without records, five with some; one more with an expiry, and for each further 1,000

--- @include "along"

if call('EXISTS', KEYS[2]) == 1 then
  local count = call('LLEN', KEYS[1])
  return {count, ran}
end
call('SET', KEYS[2], '1', 'EX', ARGV[1])
call('DEL', KEYS[1])
local last = #ARGV
for at = 3, last, 1000 do call('LPUSH', KEYS[1], unpack(ARGV, at, math.min(at + 999, last))) end
if ARGV[2] ~= '' and last > 2 then call('EXPIRE', KEYS[1], ARGV[2]) end
local replies = ran_along()
return {last - 2, ran, replies}
