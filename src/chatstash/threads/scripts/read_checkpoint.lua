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

--- @include "commands"
--- @include "tokens"

local members, place, found = {}, nil, nil
local stop = ARGV[1]
repeat
  local some = call('ZRANGE', KEYS[2], stop, ARGV[2], 'BYLEX', 'REV', 'LIMIT', 0, 100)
  for _, member in ipairs(some) do
    local of, kind = string.match(member, '^([^!]*![^!]*)!(.)')
    if of ~= place then members, place = {}, of end
    members[#members + 1] = member
    if kind == 'c' then
      found = member
      break
    end
  end
  stop = '(' .. (some[#some] or '')
until found or #some < 100
if not found then return {ran} end

local stored = many('HMGET', members)
local pages, fields = {}, {}
local checkpoint = stored[#stored]
if checkpoint then
  walk(tokens_of(checkpoint), function(field) fields[#fields + 1] = field end, function(_, text)
    pages[#pages + 1] = text
  end)
end

local values, size = {}, 0
for at = 1, #fields, 1000 do
  if size <= tonumber(ARGV[3]) then
    local some = call('HMGET', KEYS[1], unpack(fields, at, math.min(at + 999, #fields)))
    for at_reply = 1, #some do
      size = size + #(some[at_reply] or '')
      if size > tonumber(ARGV[3]) then break end
      values[at - 1 + at_reply] = some[at_reply]
    end
  end
end
return {ran, members, stored, pages, values}
