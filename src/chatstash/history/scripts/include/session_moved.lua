-- Lists a session that was copied or moved, as its source was listed.
--
-- KEYS[..]  from `first` on: the index of the source, two sorted sets and a hash, and that of the session
-- ARGV[..]  from `first_word` on: the source's id; the session's; its score; seconds the sorted set of expiring sessions
--           lives; its beginning, if the index does not have the source; and when it began, in
--           milliseconds since the epoch, '' where it has the score and the beginning of the source
--- @include "session_fields"
--- @include "commands"

-- Returns the error where the index refuses, such as on a server without HPEXPIRE, and leaves the index as it was.
local function listed_as(first, first_word)
  local source, session, score, lifetime, begun, created = unpack(ARGV, first_word, first_word + 5)
  local old_lasting, old_expiring, old_info, lasting, expiring, info = unpack(KEYS, first, first + 5)
  if not old_lasting then return end
  local values = try('HMGET', old_info, unpack(fields_of(source)))
  if values.err then return values end
  local fields, args = fields_of(session), {}
  if not values[1] and not values[2] then
    values[string.find(begun, ' ', 1, true) and 1 or 2] = begun
  elseif created ~= '' then
    local titled = values[1] and string.match(values[1], '^%d+( .*)$') or ''
    values[1], values[2] = created .. titled, false
  end
  for place = 1, 4 do
    if values[place] then
      args[#args + 1], args[#args + 2] = fields[place], values[place]
    end
  end
  for at = 1, created == '' and 2 or 0 do
    local found = try('ZSCORE', at == 1 and old_expiring or old_lasting, source)
    if type(found) == 'table' then return found end
    if found then score = found break end
  end
  local left, done = call('PTTL', KEYS[2]), try('HSET', info, unpack(args))
  if type(done) == 'table' then return done end
  done = try('ZADD', left > 0 and expiring or lasting, score, session)
  if left > 0 and type(done) ~= 'table' then
    done = try('HPEXPIRE', info, left, 'FIELDS', 4, unpack(fields))
    if done.err then call('ZREM', expiring, session) else call('EXPIRE', expiring, lifetime) end
  end
  if type(done) == 'table' and done.err then
    call('HDEL', info, unpack(fields))
    return done
  end
end

local function unlist_source(first, first_word)
  local old_lasting, old_expiring, old_info = unpack(KEYS, first, first + 2)
  if not old_lasting then return end
  try('ZREM', old_lasting, ARGV[first_word])
  try('ZREM', old_expiring, ARGV[first_word])
  call('HDEL', old_info, unpack(fields_of(ARGV[first_word])))
end
