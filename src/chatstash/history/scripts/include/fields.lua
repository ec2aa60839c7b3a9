-- The top-level fields of a JSON object, as text: decoding would change long numbers.
--- @include "json"

-- Returns the place after a string, given that of its opening quote.
local function after_string(text, at)
  while true do
    at = string.find(text, '"', at + 1, true)
    if not at then return #text + 1 end
    local before = at - 1
    while string.byte(text, before) == 92 do before = before - 1 end  -- a backslash
    if (at - 1 - before) % 2 == 0 then return at + 1 end
  end
end

-- Returns the place after a field that begins at `at`.
local function after_field(text, at)
  local depth = 0
  while true do
    local place, _, mark = string.find(text, '([%[%]{}",])', at)
    if not place then return #text + 1 end
    if mark == '"' then
      at = after_string(text, place)
    else
      if depth == 0 and (mark == ',' or mark == '}' or mark == ']') then return place end
      depth = depth + ((mark == '{' or mark == '[') and 1 or (mark == '}' or mark == ']') and -1 or 0)
      at = place + 1
    end
  end
end

-- Returns the fields of an object, each with a comma before it, without those whose names are in `left_out`.
local function other_fields(text, left_out)
  if string.sub(text, 1, 1) ~= '{' or type(decoded_json(text)) ~= 'table' then return '' end
  local kept, at = '', 2
  while true do
    local name_start = string.find(text, '"', at, true)
    if not name_start then return kept end
    local value_end = after_field(text, name_start)
    local field = string.sub(text, name_start, value_end - 1)
    local name = decoded_json('[' .. string.sub(text, name_start, after_string(text, name_start) - 1) .. ']')[1]
    if not left_out[name] then kept = kept .. ',' .. field end
    if string.sub(text, value_end, value_end) ~= ',' then return kept end
    at = value_end + 1
  end
end
