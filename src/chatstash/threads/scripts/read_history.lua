#!lua flags=no-writes,allow-key-locking
-- Reads the ancestors of a checkpoint with their writes, the nearest first, back to those that have a value of each channel.
--
-- KEYS[1]   the thread's hash
-- KEYS[2]   the thread's sorted set
-- ARGV[1]   where the range ends, as ZRANGE BYLEX takes it: no ancestor is later
-- ARGV[2]   where the range begins
-- ARGV[3]   the checkpoint to begin with, as `namespace!id`; '' for the newest
-- ARGV[4]   '1' to leave that one out
-- ARGV[5]   how many bytes to return, about
-- ARGV[6..] the channels
-- Answer    {commands, members, their fields, pages, values, where to go on or '', the next ancestor or ''}. Members are
--           checkpoints, each followed by its writes. The values are those of the fields that `walk` meets for the channels
--           that have a value; the last may be missing.
-- Cost      three commands; one more for each further 500 members of the thread, with values, for each level of pages,
--           and for each further thousand

--- @include "commands"
--- @include "tokens"

local wanted, left_out, budget = ARGV[3], ARGV[4] == '1', tonumber(ARGV[5])
local missing, count = {}, 0
for at = 6, #ARGV do
  missing[ARGV[at]], count = true, count + 1
end

-- picked lists the members of ancestors among some, which are the next ones of the thread.
local place, writes
local function picked(some)
  local found = {}
  for _, member in ipairs(some) do
    local namespace, id, kind, parent = member:match('^([^!]*)!([^!]*)!(.)!(.*)$')
    local of = namespace .. '!' .. id
    if of ~= place then place, writes = of, {} end
    if kind == 'w' then
      writes[#writes + 1] = member
    elseif wanted == '' or of == wanted then
      if not left_out then
        found[#found + 1] = member
        for _, own in ipairs(writes) do found[#found + 1] = own end
      end
      left_out, wanted = false, parent ~= '' and namespace .. '!' .. parent or nil
      if not wanted then return found end
    end
  end
  return found
end

-- seeds adds the tokens of the channels of which a checkpoint has the first value.
local tokens = {}
local function seeds(checkpoint)
  for _, channel in ipairs(cjson.decode(checkpoint:match('^[^\n]*')).c) do
    if missing[channel[1]] then
      missing[channel[1]], count = nil, count - 1
      for at = 3, #channel do tokens[#tokens + 1] = channel[at] end
    end
  end
end

local members, stored, size, stop, rest, some = {}, {}, 0, ARGV[1], nil, nil
repeat
  some = call('ZRANGE', KEYS[2], stop, ARGV[2], 'BYLEX', 'REV', 'LIMIT', 0, 500)
  stop = '(' .. (some[#some] or '')
  local found = picked(some)
  for at, text in ipairs(many('HMGET', found)) do
    local checkpoint = found[at]:match('^([^!]*![^!]*)!c')
    if checkpoint and (count == 0 or size > budget) then
      rest = checkpoint
      break
    end
    members[#members + 1], stored[#stored + 1] = found[at], text
    size = size + #(text or '')
    if checkpoint and text then seeds(text) end
  end
until #some < 500 or not wanted or rest or count == 0 or size > budget
-- An ancestor that was read, but is not returned, is the first of the next part.
if rest then wanted, stop = rest, '(' .. rest .. '"' end

local pages, values, fields = {}, {}, {}
walk(tokens, function(field) fields[#fields + 1] = field end, function(_, text) pages[#pages + 1] = text end)
for at, text in ipairs(size <= budget and many('HMGET', fields) or {}) do
  size = size + #(text or '')
  if size > budget then break end
  values[at] = text
end
local is_done = not wanted or count == 0
local goes_on = rest or #some == 500
return {ran, members, stored, pages, values, not is_done and goes_on and stop or '', not is_done and wanted or ''}
