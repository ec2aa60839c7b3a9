#!lua flags=allow-key-locking
-- Returns the records that were appended with an idempotency key. A script, because a lagging replica may answer a plain
-- read.
--
-- KEYS[1]  the conversation
-- KEYS[2]  the marker of the idempotency key
-- Answer   {1 if the marker is set, or 0, commands, its value, the records newest first}
-- Cost     two commands where the marker is not set; otherwise four, and a few more in long conversations

--- @include "batches"
--- @include "markers"

local held = call('GET', KEYS[2])
if not held or is_void(held) then return {0, ran, '', {}} end
local found, batch = {}, batch_in(held) or ''
scan(function(raw)
  if not batch_among(raw, {batch}) then return false end
  found[#found + 1] = raw
  return string.find(identity(raw), '.0/', 17, true) == 17
end)
return {1, ran, held, found}
