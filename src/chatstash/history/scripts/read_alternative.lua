#!lua flags=no-writes,allow-key-locking
-- Reads a part of an alternative that is too large for one reply.
--
-- KEYS[1]  the alternatives
-- ARGV[1]  the name of the alternative
-- ARGV[2]  the place of the first byte of the part, 1 for the first of all
-- ARGV[3]  the place of its last byte
-- Answer   {1, commands, the part}, or {0, commands} where the alternative is gone
-- Cost     two commands

--- @include "commands"

local value = call('HGET', KEYS[1], ARGV[1])
if not value then return {0, ran} end
return {1, ran, string.sub(value, ARGV[2], ARGV[3])}
