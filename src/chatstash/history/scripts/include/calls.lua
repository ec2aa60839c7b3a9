-- calls_and_answers(raw): the ids of the tool calls of a record, as a set, and of the calls it answers, as a list. The
-- list is empty unless the record holds nothing but results. The same as calls_of and results_of in tool_calls/.

local function list_of(value) return type(value) == 'table' and value or {} end

local function text_of(value)
  return (type(value) == 'string' or type(value) == 'number') and tostring(value) or nil
end

local function id_in(block, names_of, bedrock)
  block = list_of(block)
  if block.type == 'non_standard' and type(block.value) == 'table' then block = block.value end
  if block.type == nil and block[bedrock] then return text_of(list_of(block[bedrock]).toolUseId) end
  for _, name in ipairs(names_of[block.type] or {}) do
    if text_of(block[name]) then return text_of(block[name]) end
  end
end

local function calls_of(data)
  local calls, extra = {}, list_of(data.additional_kwargs)
  local function add(source, unnamed)
    local found = false
    for _, entry in ipairs(list_of(source)) do
      local id = type(entry) == 'table' and (text_of(entry.id) or unnamed)
      if id then calls[id], found = true, true end
    end
    return found
  end
  local valid, invalid = add(data.tool_calls, ''), add(data.invalid_tool_calls, '')
  if not valid and not invalid then add(data.tool_call_chunks, '') end
  add(extra.tool_calls)
  for _, block in ipairs(list_of(data.content)) do
    local id = id_in(block, CALL_BLOCKS, BEDROCK_CALL)
    if id then calls[id] = true end
  end
  local name = list_of(extra.function_call).name
  if type(name) == 'string' then calls['function ' .. name] = true end
  for _, block in ipairs(list_of(data.content)) do
    local id = id_in(block, RESULT_BLOCKS, BEDROCK_RESULT)
    if id then calls[id] = nil end
  end
  return calls
end

local function answers_of(data, own)
  local answers = {own}
  for _, block in ipairs(list_of(data.content)) do
    local id = id_in(block, RESULT_BLOCKS, BEDROCK_RESULT)
    if id and id ~= own then answers[#answers + 1] = id end
  end
  return answers
end

-- JSON without any of the four words holds neither a call nor a result: most records are not decoded.
local function decoded(raw)
  for _, word in ipairs({'tool', 'call', 'function', 'approval'}) do
    if string.find(raw, word, 1, true) then
      local is_json, record = pcall(cjson.decode, raw)
      return is_json and list_of(record) or {}
    end
  end
  return {}
end

local function calls_and_answers(raw)
  local record = decoded(raw)
  local kind, data = record.type, list_of(record.data)
  if AI_TYPES[kind] then return calls_of(data), {} end
  if TOOL_TYPES[kind] then
    local own = text_of(data.tool_call_id)
    return {}, own and answers_of(data, own) or {}
  end
  if FUNCTION_TYPES[kind] then
    return {}, type(data.name) == 'string' and {'function ' .. data.name} or {}
  end
  local answers = HUMAN_TYPES[kind] and answers_of(data) or {}
  return {}, #answers == #list_of(data.content) and answers or {}
end
