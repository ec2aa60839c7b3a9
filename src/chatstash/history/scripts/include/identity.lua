-- identity(raw): the id of a stored record, or the record itself where it has none. The same as records/identity.py.
local function identity(raw)
  if string.sub(raw, 1, 1) ~= '{' then return raw end
  local ending = string.sub(raw, -80)
  local generation = string.match(ending, ',"g":(%d+)}$')
  if generation and #generation <= 9 then ending = string.sub(ending, 1, -7 - #generation) .. '}' end
  ending = string.gsub(ending, ',"stand_in":true}$', '}')
  local batch, position, size = string.match(ending, ',"rid":"([%w_-]+)%.(%d+)/(%d+)"}$')
  if batch and #batch == 16 and #position <= 9 and #size <= 9 then
    return batch .. '.' .. position .. '/' .. size
  end
  return raw
end
