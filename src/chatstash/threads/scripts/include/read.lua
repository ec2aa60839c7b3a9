-- read returns the newest checkpoint of a range, with its writes and values: what `read_checkpoint` answers.
--- @include "commands"
--- @include "tokens"

local function read(stop, start, budget)
  local members, place, found = {}, nil, nil
  repeat
    local some = call('ZRANGE', KEYS[2], stop, start, 'BYLEX', 'REV', 'LIMIT', 0, 100)
    for _, member in ipairs(some) do
      local of, kind = member:match('^([^!]*![^!]*)!(.)')
      if of ~= place then members, place = {}, of end
      members[#members + 1] = member
      if kind == 'c' then
        found = member
        break
      end
    end
    stop = '(' .. (some[#some] or '')
  until found or #some < 100
  if not found then return {ran} end

  local stored = many('HMGET', members)
  local pages, fields = {}, {}
  local checkpoint = stored[#stored]
  if checkpoint then
    walk(tokens_of(checkpoint), function(field) fields[#fields + 1] = field end, function(_, text)
      pages[#pages + 1] = text
    end)
  end

  local values, size = {}, 0
  for at = 1, #fields, 1000 do
    if size <= budget then
      local some = call('HMGET', KEYS[1], unpack(fields, at, math.min(at + 999, #fields)))
      for at_reply = 1, #some do
        size = size + #(some[at_reply] or '')
        if size > budget then break end
        values[at - 1 + at_reply] = some[at_reply]
      end
    end
  end
  return {ran, members, stored, pages, values}
end
