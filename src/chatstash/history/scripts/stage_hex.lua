#!lua flags=allow-key-locking
-- Stores a staged part whose records are given in hexadecimal: JSON cannot carry bytes that are not UTF-8.
--
-- KEYS[1]    the part
-- ARGV[1]    seconds until it expires
-- ARGV[2..]  the records in hexadecimal, oldest first
-- Answer     {length, commands}
-- Cost       three commands, one more for each 4000 records

--- @include "commands"

local function byte(hex) return string.char(tonumber(hex, 16)) end

call('DEL', KEYS[1])
local length, most = 0, 4000
for first = 2, #ARGV, most do
  local records = {}
  for at = first, math.min(#ARGV, first + most - 1) do records[#records + 1] = string.gsub(ARGV[at], '..', byte) end
  length = call('RPUSH', KEYS[1], unpack(records))
end
call('EXPIRE', KEYS[1], ARGV[1])
return {length, ran}
