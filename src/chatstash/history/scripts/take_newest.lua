#!lua flags=allow-key-locking
-- Removes the newest record, or shortens it, if it is the one that was read; once, even if the request is sent again.
--
-- KEYS[1]  the conversation
-- KEYS[2]  the marker of this call
-- ARGV[1]  the SHA-1 of the newest record
-- ARGV[2]  the record to put in its place; '' to remove it
-- ARGV[3]  seconds until the marker expires
-- Answer   {1 if it is done, now or by an earlier request; 0 where the newest record is another one, commands}
-- Cost     five commands; two more where the record is shortened or has a generation, two fewer where the marker is set

--- @include "commands"
--- @include "generation"

if call('EXISTS', KEYS[2]) == 1 then return {1, ran} end
local newest = call('LINDEX', KEYS[1], 0)
if not newest or redis.sha1hex(newest) ~= ARGV[1] then return {0, ran} end
call('SET', KEYS[2], '1', 'EX', ARGV[3])
if ARGV[2] == '' then
  call('LPOP', KEYS[1])
  -- It took its generation along: without one, an edit made since the record before it was the newest would be hidden.
  if without_generation(newest) ~= newest then increase_generation() end
else
  call('LSET', KEYS[1], 0, ARGV[2])
  increase_generation()
end
return {1, ran}
