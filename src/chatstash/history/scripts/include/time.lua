-- The writing time of a batch, in milliseconds since the epoch: its first eight characters, base64.
local order = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
local function time_of(batch)
  local time = 0
  for at = 1, 8 do time = time * 64 + string.find(order, string.sub(batch, at, at), 1, true) - 1 end
  return time
end
