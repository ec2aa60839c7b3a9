#!lua flags=allow-key-locking
-- Puts the records of an alternative back, and those in their place aside.
--
-- KEYS[1]  the conversation
-- KEYS[2]  the marker of this edit
-- KEYS[3]  the alternatives
-- ARGV[1]  seconds until the marker expires
-- ARGV[2]  the name of the alternative
-- ARGV[3]  the name of the alternative that the present records become
-- ARGV[4]  seconds until the alternatives expire
-- Answer   {1, commands, how many records were put aside, how many records there are}; or {0, commands, 1} where the
--          alternative, or the record before it, is gone
-- Cost     fifteen commands; a few more where the records are not among the newest hundred

--- @include "alternatives"
--- @include "edit"

local before = made_before()
if before then return before end
local value = call('HGET', KEYS[3], ARGV[2])
if not value then return {0, ran, 1} end
local anchor, records = unpacked(value)
local count = records and index_of_anchor(anchor)
if not count then return {0, ran, 1} end
local failure = put_aside(KEYS[3], ARGV[3], ARGV[4], count, records, 1, #records)
if failure then return failure end
call('HDEL', KEYS[3], ARGV[2])
return edited(count, listed - count + #records)
