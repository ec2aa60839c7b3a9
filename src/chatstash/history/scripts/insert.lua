#!lua flags=allow-key-locking
-- Inserts a record. LINSERT looks for a value, which other records may equal: for a moment the neighbour has its own.
--
-- KEYS[1]    the conversation
-- ARGV[1]    the index of the neighbour, the next older record; negative: appends do not move it
-- ARGV[2]    a value that no record has
-- ARGV[3]    the record to insert
-- ARGV[4..]  the index and the SHA-1 of each record that the repair rests on
-- Answer     1 if it is done, now or by an earlier request; 0 where the conversation has changed
-- Cost       eight commands, and one for each record that the repair rests on

--- @include "seen"

local index, placeholder, record = ARGV[1], ARGV[2], ARGV[3]
local there = call('LINDEX', KEYS[1], index - 1)
if there and identity(there) == identity(record) then return 1 end
if not is_as_seen() then return 0 end
local neighbour = call('LINDEX', KEYS[1], index)
call('LSET', KEYS[1], index, placeholder)
local done = try('LINSERT', KEYS[1], 'BEFORE', placeholder, record)
call('LSET', KEYS[1], index, neighbour)
if type(done) == 'table' then return done end
increase_generation()
return 1
