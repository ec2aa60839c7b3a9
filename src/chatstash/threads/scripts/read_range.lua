#!lua flags=no-writes,allow-key-locking
-- Reads a range of a sorted set, so that the leader answers.
--
-- KEYS[1]  the sorted set
-- ARGV     what ZRANGE takes after the key
-- Answer   {commands, the members}
-- Cost     two commands

return {1, redis.call('ZRANGE', KEYS[1], unpack(ARGV))}
