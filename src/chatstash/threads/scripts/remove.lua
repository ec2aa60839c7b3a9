#!lua flags=allow-key-locking
-- Removes checkpoints and writes from a thread, and then every value that no checkpoint needs any more.
--
-- KEYS[1]  the thread's hash
-- KEYS[2]  the thread's sorted set
-- ARGV[1]  how many members the sorted set had when it was read; otherwise nothing is removed
-- ARGV[2]  how many members follow
-- ARGV[3…] the members to remove, then the fields that say that their checkpoints exist
-- Answer   {commands, 1 if they were removed, 0 if the thread has changed, how many fields were removed}
-- Cost     eight commands; one more for each thousand members, fields and values, and for each level of pages

--- @include "commands"
--- @include "tokens"

if call('ZCARD', KEYS[2]) ~= tonumber(ARGV[1]) then return {ran, 0, 0} end
local count = tonumber(ARGV[2])
for at = 3, count + 2, 1000 do call('ZREM', KEYS[2], unpack(ARGV, at, math.min(at + 999, count + 2))) end

local checkpoints, writes = {}, {}
for _, member in ipairs(call('ZRANGE', KEYS[2], 0, -1)) do
  local kind = member:match('^[^!]*![^!]*!(.)!')
  if kind == 'c' then checkpoints[#checkpoints + 1] = member end
  if kind == 'w' then writes[#writes + 1] = member end
end

local tokens = {}
for _, text in ipairs(many('HMGET', checkpoints)) do
  if text then
    for _, token in ipairs(tokens_of(text)) do tokens[#tokens + 1] = token end
  end
end
for _, text in ipairs(many('HMGET', writes)) do
  if text and text:sub(1, 1) == '+' then tokens[#tokens + 1] = text end
end

local live = {}
local function keep(field) live[field] = true end
walk(tokens, keep, keep)

local dead = {}
for at = 3, #ARGV do dead[#dead + 1] = ARGV[at] end
for _, field in ipairs(call('HKEYS', KEYS[1])) do
  if not live[field] and field:match('^[^!.]+%.%d+$') then dead[#dead + 1] = field end
end
many('HDEL', dead)
return {ran, 1, #dead}
