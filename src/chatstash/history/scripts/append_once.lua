#!lua flags=allow-key-locking
-- Appends records and sets their marker, unless the marker is set: a request that arrives late does nothing.
--
-- KEYS[1]    the conversation
-- KEYS[2]    the marker
-- ARGV[1]    seconds until the conversation expires; '' leaves its expiry as it is
-- ARGV[2]    the marker's value
-- ARGV[3]    seconds until the marker expires
-- ARGV[4..]  the records, oldest first
-- Answer     {STORED, length, commands, EXPIRE's reply or error, replies}, or {REFUSED, length, commands, the marker's value}
-- Cost       three commands; one more with an expiry

--- @include "claim"
--- @include "finish"

local held = claim()
if held then
  length = call('LLEN', KEYS[1])
  return {REFUSED, length, ran, held}
end
return finished(push(ARGV, 4, #ARGV), KEYS[2])
