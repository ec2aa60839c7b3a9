-- An append without a marker is applied only if its batch is not stored, and a guarded turn only if the conversation is
-- unchanged.
--- @include "batches"
--- @include "snapshot"

-- Returns the script's answer where the append must not go ahead. Looks for the batch first only in a settlement:
-- otherwise the conversation has changed if the batch is stored.
local function refusal_by_batch(batch, is_settlement)
  if is_settlement and is_stored(batch) then return {EARLIER, listed, ran, 1} end
  if not read then return end
  local count = call('LLEN', KEYS[1])
  if is_unchanged(count) then return end
  if is_stored(batch) then return {EARLIER, listed, ran, 1} end
  local told = news(count)
  return {REFUSED, count, ran, told}
end
