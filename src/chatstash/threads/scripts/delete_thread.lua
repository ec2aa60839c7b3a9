#!lua
-- Deletes a thread, and removes it from all indexes. Locks the whole database, because the thread says which they are.
--
-- KEYS[1]  the thread's hash
-- KEYS[2]  the thread's sorted set
-- ARGV[1]  the prefix of all keys
-- ARGV[2]  the thread's id
-- Answer   {commands, how many keys were deleted}
-- Cost     six commands; two more for each user, two for each run

--- @include "commands"
--- @include "indexes"

for _, index in ipairs(indexes(KEYS[2])) do
  local key = ARGV[1] .. index[2]
  if index[1] == 'u' then
    call('ZREM', key .. ':u', ARGV[2])
    call('ZREM', key .. ':x', ARGV[2])
  else
    for _, member in ipairs(call('SMEMBERS', key .. ':r')) do
      if member:match('^[^!]*![^!]*!(.*)$') == ARGV[2] then call('SREM', key .. ':r', member) end
    end
  end
end
call('ZREM', ARGV[1] .. ':threads', ARGV[2])
call('ZREM', ARGV[1] .. ':expiring', ARGV[2])
local deleted = call('DEL', KEYS[1], KEYS[2])
return {ran, deleted}
