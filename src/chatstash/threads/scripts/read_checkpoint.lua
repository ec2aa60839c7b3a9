#!lua flags=no-writes,allow-key-locking
-- Reads the newest checkpoint of a range, with its writes and values.
--
-- KEYS[1]  the thread's hash
-- KEYS[2]  the thread's sorted set
-- ARGV[1]  where the range ends, as ZRANGE BYLEX takes it
-- ARGV[2]  where the range begins
-- ARGV[3]  how many bytes the values may have, together
-- Answer   {commands}, if there is no checkpoint; else {commands, the checkpoint's member and the members of its writes,
--          their fields, pages, values}. The values are those of the fields that `walk` meets, in its order; the last
--          may be missing.
-- Cost     two commands without a checkpoint; else four, and one more for each level of pages and for each further
--          thousand of values

--- @include "read"

return read(ARGV[1], ARGV[2], tonumber(ARGV[3]))
