#!lua flags=allow-key-locking
-- Lists the sessions of an index, newest activity first, and forgets those that have expired. Run by EVAL_RO, it only reads.
--
-- KEYS[1]  the sorted set of sessions in stores without a ttl
-- KEYS[2]  the sorted set of the others
-- KEYS[3]  the hash with the times, titles and metadata of sessions
-- ARGV[1]  how many sessions to list
-- ARGV[2]  the score of the last session of the page before; '' for the first page
-- ARGV[3]  its id
-- ARGV[4]  '1' to forget sessions that have expired, or ''
-- Answer   {1 if there are more, or 0, commands, the sessions: id, score and the values of its fields}
-- Cost     four commands; two more for a page after the first, and a few more where sessions have expired

--- @include "commands"
--- @include "session_fields"

local limit, max_score, last_id = tonumber(ARGV[1]), ARGV[2], ARGV[3]

-- Sorted sets order members of one score by their bytes; Lua compares strings by the locale of the server.
local function is_greater(text, than)
  for at = 1, math.min(#text, #than) do
    local byte, other = string.byte(text, at), string.byte(than, at)
    if byte ~= other then return byte > other end
  end
  return #text > #than
end

local function is_before(score, id, than)
  return score > than.score or score == than.score and is_greater(id, than.id)
end

-- Returns a function that returns the next session of a sorted set, read in slices.
local function reader(key, first_size)
  local slice, at, offset, size = {}, 1, 0, first_size
  return function()
    if at > #slice and slice.is_last then return nil end
    if at > #slice then
      slice = call('ZRANGE', key, max_score == '' and '+inf' or max_score, '-inf', 'BYSCORE', 'REV', 'LIMIT', offset, size,
        'WITHSCORES')
      slice.is_last = #slice < 2 * size
      at, offset, size = 1, offset + size, math.min(2 * size, 2000)
      if #slice == 0 then return nil end
    end
    at = at + 2
    return {id = slice[at - 2], text = slice[at - 1], score = tonumber(slice[at - 1])}
  end
end

-- Both sorted sets in one order. A session may be in both, because the store had another ttl before: its newer score
-- counts. On the first page that comes first; on later pages, both scores are compared.
-- A later page begins at the score of the last session, so it reads one more.
local first_size = max_score == '' and limit + 1 or limit + 2
local read_lasting, read_expiring = reader(KEYS[1], first_size), reader(KEYS[2], first_size)
local lasting, expiring, seen = nil, nil, {}
local function next_session()
  while true do
    lasting, expiring = lasting or read_lasting(), expiring or read_expiring()
    if not lasting and not expiring then return nil end
    local session
    if not expiring or lasting and is_before(lasting.score, lasting.id, expiring) then
      session, lasting = lasting, nil
    else
      session, expiring = expiring, nil
    end
    local is_listed = max_score ~= '' and not is_before(tonumber(max_score), last_id, session)
    if not seen[session.id] and not is_listed then
      seen[session.id] = true
      return session
    end
  end
end

local function without_older(sessions)
  if max_score == '' or #sessions == 0 then return sessions end
  local ids, newest = {}, {}
  for place, session in ipairs(sessions) do ids[place] = session.id end
  local scores, others = call('ZMSCORE', KEYS[1], unpack(ids)), call('ZMSCORE', KEYS[2], unpack(ids))
  for place, session in ipairs(sessions) do
    local score = math.max(tonumber(scores[place] or 0), tonumber(others[place] or 0))
    if score <= session.score then newest[#newest + 1] = session end
  end
  return newest
end

-- Thousands may have expired since: the slices that are looked up double.
local found, expired, size = {}, {}, limit + 1
while #found <= limit do
  local some, fields = {}, {}
  while #some < size do
    local session = next_session()
    if not session then break end
    some[#some + 1] = session
  end
  if #some == 0 then break end
  size = math.min(2 * size, 1000)
  some = without_older(some)
  for _, session in ipairs(some) do
    for _, field in ipairs(fields_of(session.id)) do fields[#fields + 1] = field end
  end
  local values = #some > 0 and call('HMGET', KEYS[3], unpack(fields)) or {}
  for place, session in ipairs(some) do
    local own = {unpack(values, place * 4 - 3, place * 4)}
    if own[1] or own[2] then
      found[#found + 1] = {session.id, session.text, unpack(own, 1, 4)}
    else
      expired[#expired + 1] = session.id
    end
  end
end

for from = 1, ARGV[4] == '1' and #expired or 0, 4000 do
  local some = {unpack(expired, from, math.min(from + 3999, #expired))}
  call('ZREM', KEYS[1], unpack(some))
  call('ZREM', KEYS[2], unpack(some))
end
local has_more = #found > limit
while #found > limit do table.remove(found) end
return {has_more and 1 or 0, ran, found}
