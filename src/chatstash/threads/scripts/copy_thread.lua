#!lua
-- Copies a thread to another, which keeps what it has. Locks the whole database, because the thread says which indexes
-- name it.
--
-- KEYS[1]  the source's hash
-- KEYS[2]  the source's sorted set
-- KEYS[3]  the target's hash
-- KEYS[4]  the target's sorted set
-- ARGV[1]  the prefix of all keys
-- ARGV[2]  the target's id
-- ARGV[3]  now, in milliseconds since the epoch
-- ARGV[4]  seconds until the target expires; empty for never
-- ARGV[5]  milliseconds for which an index lives, if the target expires
-- Answer   {commands, 1 if there was a source}
-- Cost     eight commands to an empty target, four more with a ttl; more for users and runs

--- @include "commands"
--- @include "indexes"

if call('EXISTS', KEYS[2]) == 0 then return {ran, 0} end
if call('COPY', KEYS[2], KEYS[4]) == 1 then
  call('DEL', KEYS[3])
  call('COPY', KEYS[1], KEYS[3])
else
  call('ZUNIONSTORE', KEYS[4], 2, KEYS[2], KEYS[4], 'AGGREGATE', 'MIN')
  local fields = call('HGETALL', KEYS[1])
  for at = 1, #fields, 1000 do call('HSET', KEYS[3], unpack(fields, at, math.min(at + 999, #fields))) end
end

local function note(lasting, expiring)
  local index = ARGV[4] == '' and lasting or expiring
  call('ZADD', index, ARGV[3], ARGV[2])
  if ARGV[4] ~= '' then
    call('PEXPIRE', index, ARGV[5], 'NX')
    call('PEXPIRE', index, ARGV[5], 'GT')
  end
end

note(ARGV[1] .. ':threads', ARGV[1] .. ':expiring')
for _, index in ipairs(indexes(KEYS[2])) do
  local key = ARGV[1] .. index[2]
  if index[1] == 'u' then
    note(key .. ':u', key .. ':x')
  else
    for _, member in ipairs(call('SMEMBERS', key .. ':r')) do
      local checkpoint = member:match('^[^!]*![^!]*')
      if #call('ZRANGE', KEYS[2], '[' .. checkpoint .. '!c!', '(' .. checkpoint .. '!c"', 'BYLEX') > 0 then
        call('SADD', key .. ':r', checkpoint .. '!' .. ARGV[2])
      end
    end
  end
end
if ARGV[4] == '' then
  call('PERSIST', KEYS[3])
  call('PERSIST', KEYS[4])
else
  call('EXPIRE', KEYS[3], ARGV[4])
  call('EXPIRE', KEYS[4], ARGV[4])
end
return {ran, 1}
