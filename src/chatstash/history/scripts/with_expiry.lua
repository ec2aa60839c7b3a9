#!lua flags=allow-key-locking
-- Runs the commands of a batch, or none after the first if that is refused: so EXPIRE and the session index take effect
-- only where the key holds a list.
--
-- KEYS[1..]  the keys that the commands are on
-- ARGV[1..]  each command: its name, the index of its key in KEYS, how many further arguments it has, and those
-- Answer     {commands, the places of those that were refused, the replies, with an error as its text}; where the first
--            command is refused, its error
-- Cost       one command more than the batch

local ran, refused, replies, at = 0, {}, {}, 1
while at <= #ARGV do
  local last = at + 2 + tonumber(ARGV[at + 2])
  local reply = redis.pcall(ARGV[at], KEYS[tonumber(ARGV[at + 1])], unpack(ARGV, at + 3, last))
  ran, at = ran + 1, last + 1
  if type(reply) == 'table' and reply.err then
    if ran == 1 then return reply end
    reply = reply.err
    table.insert(refused, ran - 1)
  end
  replies[ran] = reply
end
return {ran, refused, replies}
