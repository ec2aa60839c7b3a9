-- fields_of lists the fields that a token of groups stands for; a page is one field.
local function fields_of(token)
  local segment, first, last = token:match('^%+?([^.]*)%.(%d+)%-?(%d*)$')
  local fields = {}
  for at = tonumber(first), tonumber(last ~= '' and last or first) do fields[#fields + 1] = segment .. '.' .. at end
  return fields
end

-- many runs HMGET or HDEL for any number of fields, a thousand at a time, and returns the replies in one list.
local function many(command, fields)
  local replies = {}
  for at = 1, #fields, 1000 do
    local some = call(command, KEYS[1], unpack(fields, at, math.min(at + 999, #fields)))
    if type(some) == 'table' then
      for at_reply = 1, #some do replies[#replies + 1] = some[at_reply] end
    end
  end
  return replies
end

-- walk calls group(field) for each field below the tokens in the headers of checkpoints, level by level of pages, and
-- page(field, text) for each page. It visits each token once.
local function walk(tokens, group, page)
  local met = {}
  while #tokens > 0 do
    local pages = {}
    for _, token in ipairs(tokens) do
      if not met[token] then
        met[token] = true
        if token:sub(1, 1) == '@' then
          pages[#pages + 1] = token:sub(3)
        else
          for _, field in ipairs(fields_of(token)) do group(field) end
        end
      end
    end
    tokens = {}
    for at, text in ipairs(many('HMGET', pages)) do
      page(pages[at], text)
      if text then
        for _, token in ipairs(cjson.decode(text)) do tokens[#tokens + 1] = token end
      end
    end
  end
end

-- tokens_of lists the tokens in the header of a checkpoint.
local function tokens_of(checkpoint)
  local tokens = {}
  for _, channel in ipairs(cjson.decode(checkpoint:match('^[^\n]*')).c) do
    for at = 3, #channel do tokens[#tokens + 1] = channel[at] end
  end
  return tokens
end
