"""Trimming a conversation whose storage is bounded, within the script that appends. Pure.

A tool call and its results are trimmed together: providers refuse a result whose call is gone.
"""

from __future__ import annotations

from collections.abc import Mapping

from chatstash.history.records.message_types import AI_TYPES, FUNCTION_TYPES, HUMAN_TYPES, TOOL_TYPES
from chatstash.history.tool_calls.formats import (
    BEDROCK_CALL,
    BEDROCK_RESULT,
    CALL_BLOCKS,
    OPTIONAL_CALL_BLOCKS,
    RESULT_BLOCKS,
)


def _table(fields: Mapping[str, tuple[str, ...]]) -> str:
    """Return a table of lists of names in Lua."""
    entries = (f"{kind}={{{','.join(map(repr, names))}}}" for kind, names in fields.items())
    return f"{{{','.join(entries)}}}"


def _is_one_of(types: frozenset[str]) -> str:
    """Return the test in Lua of whether a record is of one of some types."""
    return " or ".join(f"record.type == {kind!r}" for kind in sorted(types))


# JSON that holds none of the four words holds neither a call nor a result: most records are not decoded.
_CALLS_AND_ANSWERS = f"""
local call_blocks = {_table({**CALL_BLOCKS, **OPTIONAL_CALL_BLOCKS})}
local result_blocks = {_table(RESULT_BLOCKS)}
local function list_of(value) return type(value) == 'table' and value or {{}} end
local function text_of(value)
  return (type(value) == 'string' or type(value) == 'number') and tostring(value) or nil
end
local function id_in(block, names_of, bedrock)
  block = list_of(block)
  if block.type == 'non_standard' and type(block.value) == 'table' then block = block.value end
  if block.type == nil and block[bedrock] then return text_of(list_of(block[bedrock]).toolUseId) end
  for _, name in ipairs(names_of[block.type] or {{}}) do
    if text_of(block[name]) then return text_of(block[name]) end
  end
end
local function calls_of(data)
  local calls, extra = {{}}, list_of(data.additional_kwargs)
  local function add(source, unnamed)
    local found = false
    for _, call in ipairs(list_of(source)) do
      local id = type(call) == 'table' and (text_of(call.id) or unnamed)
      if id then calls[id], found = true, true end
    end
    return found
  end
  local valid, invalid = add(data.tool_calls, ''), add(data.invalid_tool_calls, '')
  if not valid and not invalid then add(data.tool_call_chunks, '') end
  add(extra.tool_calls)
  for _, block in ipairs(list_of(data.content)) do
    local id = id_in(block, call_blocks, '{BEDROCK_CALL}')
    if id then calls[id] = true end
  end
  local name = list_of(extra.function_call).name
  if type(name) == 'string' then calls['function ' .. name] = true end
  for _, block in ipairs(list_of(data.content)) do
    local id = id_in(block, result_blocks, '{BEDROCK_RESULT}')
    if id then calls[id] = nil end
  end
  return calls
end
local function answers_of(data, own)
  local answers = {{own}}
  for _, block in ipairs(list_of(data.content)) do
    local id = id_in(block, result_blocks, '{BEDROCK_RESULT}')
    if id and id ~= own then answers[#answers + 1] = id end
  end
  return answers
end
local function calls_and_answers(raw)
  local names_one = false
  for _, word in ipairs({{'tool', 'call', 'function', 'approval'}}) do
    names_one = names_one or string.find(raw, word, 1, true)
  end
  local decoded, record
  if names_one then decoded, record = pcall(cjson.decode, raw) end
  record = decoded and list_of(record) or {{}}
  local data = list_of(record.data)
  if {_is_one_of(AI_TYPES)} then return calls_of(data), {{}} end
  if {_is_one_of(TOOL_TYPES)} then
    local own = text_of(data.tool_call_id)
    return {{}}, own and answers_of(data, own) or {{}}
  end
  if {_is_one_of(FUNCTION_TYPES)} then
    return {{}}, type(data.name) == 'string' and {{'function ' .. data.name}} or {{}}
  end
  local answers = ({_is_one_of(HUMAN_TYPES)}) and answers_of(data) or {{}}
  return {{}}, #answers == #list_of(data.content) and answers or {{}}
end
"""
"""`calls_and_answers(raw)` as a function for scripts: the calls of a record as a set, and the calls it answers as a
list, empty unless the record is nothing but results. Both have the ids that `calls_of` and `results_of` give."""

LUA = (
    _CALLS_AND_ANSWERS
    + """
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
)
"""`trim(length, most)` as a function for scripts: drops the oldest records, and returns the length that is left."""
