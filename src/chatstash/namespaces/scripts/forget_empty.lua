#!lua flags=allow-key-locking
-- Removes a namespace from the indexes, unless it has items.
--
-- KEYS[1]  the namespace's hash
-- KEYS[2]  an index
-- KEYS[3]  the other
-- ARGV[1]  the namespace
-- Answer   how many entries were removed
-- Cost     two commands, or four

-- A hash of which all fields have expired may still exist.
if redis.call('HRANDFIELD', KEYS[1]) then return 0 end
return redis.call('ZREM', KEYS[2], ARGV[1]) + redis.call('ZREM', KEYS[3], ARGV[1])
