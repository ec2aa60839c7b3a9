#!lua flags=no-writes,allow-key-locking
-- Lists the alternatives of a record and those newer than it.
--
-- KEYS[1]  the conversation
-- KEYS[2]  the alternatives
-- ARGV[1]  how the record is named: r, m or b (include/find.lua)
-- ARGV[2]  its id or its bytes
-- ARGV[3]  '1' for the size of each alternative, in bytes, in place of its value; or ''
-- Answer   {1, commands, the name and the value or size of each alternative}, or {0, commands} where there is no such record
-- Cost     five commands; a few more where the record is not among the newest hundred

--- @include "alternatives"
--- @include "find"

local index = find(ARGV[1], ARGV[2])
if not index then return {0, ran} end
local anchor, found = anchor_at(index + 1) .. '\n', {}
local all = call('HGETALL', KEYS[2])
for at = 2, #all, 2 do
  if string.sub(all[at], 1, #anchor) == anchor then
    found[#found + 1] = all[at - 1]
    found[#found + 1] = ARGV[3] == '1' and tostring(#all[at]) or all[at]
  end
end
return {1, ran, found}
