-- The marker of an append: "<digest>:<batch>", or "void:<batch>" for a batch that was called off. An append that was
-- called off does nothing if it arrives later. The same as records/markers.py.
--- @include "commands"

local function batch_in(value) return string.match(value, ':(.*)$') end
local function void_of(batch) return VOID .. batch end
local function is_void(value) return string.sub(value, 1, #VOID) == VOID end

-- Another append with the same idempotency key is another batch: a void marker does not stop it.
local function is_void_of_another(held, batch)
  return is_void(held) and held ~= void_of(batch)
end
