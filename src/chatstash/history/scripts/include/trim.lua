-- Trims the oldest records. A tool call and its results go together: providers refuse a result without its call.
--- @include "calls"
--- @include "commands"

-- Removes the results among the oldest 200 records whose call was trimmed. A later call may use the same id again.
local function remove_orphans(trimmed)
  local unanswered, orphans = {}, 0
  local function is_orphan(raw, is_kept)
    local calls, answers = calls_and_answers(raw)
    local orphaned = is_kept and #answers > 0
    for _, id in ipairs(answers) do
      orphaned = orphaned and unanswered[id]
      unanswered[id] = nil
    end
    for id in pairs(calls) do unanswered[id] = not is_kept or nil end
    return orphaned
  end
  for _, raw in ipairs(trimmed) do is_orphan(raw, false) end
  if next(unanswered) == nil then return 0 end
  local oldest = call('LRANGE', KEYS[1], -200, -1)
  for place = #oldest, 1, -1 do
    if is_orphan(oldest[place], true) then
      call('LSET', KEYS[1], place - #oldest - 1, 'chatstash:trimmed')
      orphans = orphans + 1
    end
  end
  if orphans > 0 then call('LREM', KEYS[1], orphans, 'chatstash:trimmed') end
  return orphans
end

-- Returns the length that is left.
local function trim(count, most)
  local trimmed = {}
  while count > most do
    local some = call('RPOP', KEYS[1], math.min(count - most, 1000))
    count = count - #some
    for _, raw in ipairs(some) do trimmed[#trimmed + 1] = raw end
  end
  return count - remove_orphans(trimmed)
end
