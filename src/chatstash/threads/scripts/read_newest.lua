#!lua flags=no-writes,allow-key-locking
-- Reads the checkpoint with the greatest id in any namespace, with its writes and values.
--
-- KEYS[1]  the thread's hash
-- KEYS[2]  the thread's sorted set
-- ARGV[1]  what its id must be smaller than; '' for any
-- ARGV[2]  how many bytes the values may have, together
-- Answer   as `read_checkpoint`
-- Cost     as `read_checkpoint`, and one more command

--- @include "read"

local best, best_id
for _, member in ipairs(call('ZRANGE', KEYS[2], 0, -1)) do
  local namespace, id = member:match('^([^!]*)!([^!]*)!c!')
  if id and (ARGV[1] == '' or id < ARGV[1]) and (not best or id > best_id) then
    best, best_id = namespace .. '!' .. id, id
  end
end
if not best then return {ran} end
return read('(' .. best .. '"', '[' .. best .. '!', tonumber(ARGV[2]))
