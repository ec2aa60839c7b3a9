#!lua flags=allow-key-locking
-- Appends records as append_once does, and trims the oldest of a conversation whose storage is bounded.
--
-- KEYS[1]    the conversation
-- KEYS[2]    the marker
-- ARGV[1]    seconds until the conversation expires; '' leaves its expiry as it is
-- ARGV[2]    the marker's value
-- ARGV[3]    seconds until the marker expires
-- ARGV[4]    how many records to keep
-- ARGV[5..]  the records, oldest first
-- Answer     {STORED, length, commands, EXPIRE's reply or error, replies}, or {REFUSED, length, commands, the marker's value}
-- Cost       three commands; one more with an expiry, and one or more where records are trimmed

--- @include "claim"
--- @include "finish"
--- @include "trim"

local held = claim()
if held then
  length = call('LLEN', KEYS[1])
  return {REFUSED, length, ran, held}
end
local failure = push(ARGV, 5, #ARGV)
if not failure then length = trim(length, tonumber(ARGV[4])) end
return finished(failure, KEYS[2])
