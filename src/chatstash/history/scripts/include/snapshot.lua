-- Compares the conversation with the snapshot that a guarded turn read:
--
-- ARGV[4]  how many records there were; '' where there is no turn
-- ARGV[5]  how many of the newest are compared
-- ARGV[6]  the SHA-1 of those, joined by newlines, newest first
-- ARGV[7]  how many bytes of new records to tell, at most; 0 to read none
--- @include "commands"

local read, compared = tonumber(ARGV[4]), tonumber(ARGV[5])
local function has_at(index)
  local records = compared > 0 and call('LRANGE', KEYS[1], index, index + compared - 1) or {}
  return redis.sha1hex(table.concat(records, '\n')) == ARGV[6]
end

local function is_unchanged(count) return count == read and has_at(0) end

-- Returns 1 and the records that are new since, newest first; or 0 and all records where it cannot tell which are new.
local function news(count)
  local last, room = count - read - 1, tonumber(ARGV[7])
  if room == 0 then return {1} end
  local only_new = last >= 0 and has_at(last + 1)
  local told = {only_new and 1 or 0}
  for _, record in ipairs(call('LRANGE', KEYS[1], 0, only_new and last or -1)) do
    room = room - #record
    if room < 0 then break end
    told[#told + 1] = record
  end
  return told
end
