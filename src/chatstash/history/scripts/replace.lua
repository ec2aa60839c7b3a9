#!lua flags=allow-key-locking
-- Replaces a record, and puts the one before it into the quarantine, which is written first: a script that fails half-way
-- is not undone.
--
-- KEYS[1]    the conversation
-- KEYS[2]    its quarantine
-- ARGV[1]    the record's index, negative: appends do not move it
-- ARGV[2]    the record to put in its place
-- ARGV[3]    the note that stands before the record in the quarantine
-- ARGV[4..]  the index and the SHA-1 of each record that the repair rests on
-- Answer     1 if it is done, now or by an earlier request; 0 where the conversation has changed
-- Cost       seven commands, and one for each record that the repair rests on

--- @include "seen"

local index, record, note = ARGV[1], ARGV[2], ARGV[3]
if call('LPOS', KEYS[2], note) then return 1 end
if not is_as_seen() then return 0 end
call('RPUSH', KEYS[2], note, call('LINDEX', KEYS[1], index))
call('LSET', KEYS[1], index, record)
increase_generation()
return 1
