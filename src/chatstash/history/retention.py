"""Trimming a conversation whose storage is bounded, within the script that appends. Pure.

A tool call and its results are trimmed together: providers refuse a result whose call is gone.
"""

from __future__ import annotations

LUA = """
local function list_of(value) return type(value) == 'table' and value or {} end
local function calls_and_answers(raw)
  local calls, answers, blocks, answering = {}, {}, 0, 0
  if not string.find(raw, 'tool', 1, true) and not string.find(raw, 'function', 1, true) then return calls, answers end
  local decoded, record = pcall(cjson.decode, raw)
  local data = decoded and list_of(list_of(record).data) or {}
  local extra = list_of(data.additional_kwargs)
  if record.type == 'ai' or record.type == 'AIMessageChunk' then
    local named = {data.tool_calls, data.invalid_tool_calls, data.tool_call_chunks, extra.tool_calls, data.content}
    for _, source in pairs(named) do
      for _, call in ipairs(list_of(source)) do
        calls[#calls + 1] = tostring(list_of(call).id)
        calls[#calls + 1] = tostring(list_of(call).call_id)
      end
    end
    calls[#calls + 1] = 'function ' .. tostring(list_of(extra.function_call).name)
  elseif record.type == 'tool' or record.type == 'ToolMessageChunk' then
    return calls, {tostring(data.tool_call_id)}
  elseif record.type == 'function' or record.type == 'FunctionMessageChunk' then
    return calls, {'function ' .. tostring(data.name)}
  end
  for _, block in ipairs(list_of(data.content)) do
    blocks = blocks + 1
    if list_of(block).type == 'tool_result' then answers[#answers + 1] = tostring(block.tool_use_id) end
  end
  return calls, #answers == blocks and answers or {}
end

-- The results among the oldest 200 records whose call was trimmed. An id may be used again by a later call.
local function without_orphans(trimmed)
  local unanswered, orphans = {}, 0
  local function is_orphan(raw, is_kept)
    local calls, answers = calls_and_answers(raw)
    local orphaned = is_kept and #answers > 0
    for _, id in ipairs(answers) do
      orphaned = orphaned and unanswered[id]
      unanswered[id] = nil
    end
    for _, id in ipairs(calls) do unanswered[id] = not is_kept or nil end
    return orphaned
  end
  for _, raw in ipairs(trimmed) do is_orphan(raw, false) end
  unanswered['nil'], unanswered['function nil'] = nil, nil
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

local function trim(length, most)
  local trimmed = {}
  while length > most do
    local some = call('RPOP', KEYS[1], math.min(length - most, 1000))
    length = length - #some
    for _, raw in ipairs(some) do trimmed[#trimmed + 1] = raw end
  end
  return length - without_orphans(trimmed)
end
"""
"""`trim(length, most)` as a function for scripts: drops the oldest records, and returns the length that is left."""
