#!lua flags=allow-key-locking
-- Brings the session index up to date for one conversation: lists it, or takes it off where it is gone.
--
-- KEYS[1]  the conversation
-- KEYS[2]  the sorted set of sessions in stores without a ttl
-- KEYS[3]  the sorted set of the others
-- KEYS[4]  the hash with the times, titles and metadata of sessions
-- ARGV[1]  the session's id
-- ARGV[2]  its score; '' to list nothing
-- ARGV[3]  GT, or NX where the time of the last append is not known
-- ARGV[4]  the letter of the field that says when it began
-- ARGV[5]  what that says
-- ARGV[6]  seconds the sorted set of expiring sessions lives
-- Answer   {1 if it is listed, -1 if it was taken off, or 0, commands}
-- Cost     five commands, seven or eight with an expiry; three to five where the conversation is gone, two to list nothing

--- @include "commands"
--- @include "prolong"
--- @include "session_fields"

local session, score, how, letter, begun, lifetime = unpack(ARGV)
if call('EXISTS', KEYS[1]) == 0 then
  local removed = call('ZREM', KEYS[2], session) + call('ZREM', KEYS[3], session)
  call('HDEL', KEYS[4], unpack(fields_of(session)))
  return {removed > 0 and -1 or 0, ran}
end
if score == '' then return {0, ran} end
local left = call('PTTL', KEYS[1])
call('ZADD', left > 0 and KEYS[3] or KEYS[2], how, score, session)
call('HSETNX', KEYS[4], letter .. session, begun)
if left > 0 then
  call('HPEXPIRE', KEYS[4], left, 'FIELDS', 4, unpack(fields_of(session)))
  prolong(KEYS[3], lifetime)
end
return {1, ran}
