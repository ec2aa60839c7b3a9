-- An append with a marker is applied once, and a guarded turn only if the conversation is unchanged.
--- @include "claim"
--- @include "snapshot"

-- Returns the script's answer where the append must not go ahead. A turn that was refused is refused again.
local function refusal_by_marker()
  local held, void = claim(), void_of(batch_in(ARGV[2]))
  local was_refused = read and held == void
  local count = (held or read) and call('LLEN', KEYS[1])
  if held and not was_refused then return {REFUSED, count, ran, held} end
  if read and (was_refused or not is_unchanged(count)) then
    local told = news(count)
    call('SET', KEYS[2], void, 'KEEPTTL')
    return {REFUSED, count, ran, told}
  end
end
