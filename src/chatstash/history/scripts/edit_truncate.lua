#!lua flags=allow-key-locking
-- Removes all messages that are newer than one.
--
-- KEYS[1]  the conversation
-- KEYS[2]  the marker of this edit
-- ARGV[1]  seconds until the marker expires
-- ARGV[2]  how the record is named: r, m or b (include/find.lua)
-- ARGV[3]  its id or its bytes
-- Answer   {1, commands, how many were removed, how many are left}, or {0, commands, 1} where there is no such record
-- Cost     eight commands; a few more where the record is not among the newest hundred

--- @include "edit"
--- @include "find"

local before = made_before()
if before then return before end
local index = find(ARGV[2], ARGV[3])
if not index then return {0, ran, 1} end
if index > 0 then call('LTRIM', KEYS[1], index, -1) end
return edited(index, listed - index)
