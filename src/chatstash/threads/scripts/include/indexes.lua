-- indexes lists the members of a thread that say which indexes of users and runs name it.
local function indexes(names)
  local found = {}
  for _, kind in ipairs({'u', 'r'}) do
    for _, member in ipairs(call('ZRANGE', names, '[%' .. kind .. '!', '(%' .. kind .. '"', 'BYLEX')) do
      found[#found + 1] = {kind, member:sub(4)}
    end
  end
  return found
end
