-- Commands that go along with what a script does. If one is refused, the others run all the same.
--
-- KEYS[..]  the keys of the commands, after those of the script
-- ARGV[..]  the last: JSON, how many keys there are, and the words of each command; a number stands for a key
--- @include "commands"

local along, along_keys = cjson.decode(table.remove(ARGV)), {}
for _ = 1, along[1] do table.insert(along_keys, 1, table.remove(KEYS)) end

-- Returns their replies, the text of its error for one that was refused; nil where there are no commands.
local function ran_along()
  local replies = #along > 1 and {} or nil
  for at = 2, #along do
    local words = {}
    for place, word in ipairs(along[at]) do words[place] = along_keys[word] or word end
    local reply = try(unpack(words))
    replies[at - 1] = type(reply) == 'table' and reply.err or reply
  end
  return replies
end
