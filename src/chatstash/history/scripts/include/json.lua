-- Returns a JSON value; nil where the text is no JSON. cjson refuses the escape of half a surrogate pair, which other
-- libraries accept: such escapes are read as another character.
local function decoded_json(text)
  local is_json, value = pcall(cjson.decode, text)
  if not is_json then is_json, value = pcall(cjson.decode, (string.gsub(text, '\\u[dD][89a-fA-F]%x%x', '\\u0041'))) end
  if is_json then return value end
end
