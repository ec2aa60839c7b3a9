"""Pieces of Lua that several scripts are made of. Pure."""

from __future__ import annotations

from hashlib import sha1

from chatstash.history.records.generation import LUA

COUNTED = """
local ran = 0
local function call(...) ran = ran + 1; return redis.call(...) end
local function try(...) ran = ran + 1; return redis.pcall(...) end
"""
"""`call` and `try` run a command, and `ran` is how many they ran."""

# Newest first, for what is looked for is mostly there; in slices that double, for each is a command.
SCAN = f"""{LUA}
local function batch_of(raw)
  local id = identity(raw)
  return id ~= raw and string.sub(id, 1, 16) or nil
end
local listed
local function scan(visit)
  listed = listed or call('LLEN', KEYS[1])
  local from, size = 0, 100
  while from < listed do
    for place, raw in ipairs(call('LRANGE', KEYS[1], from, from + size - 1)) do
      if visit(raw, from + place - 1) then return true end
    end
    from, size = from + size, math.min(2 * size, 5000)
  end
  return false
end
-- A record with an id of one of these batches; a look at its end is cheaper than a pattern.
local function batch_among(raw, batches)
  for _, batch in ipairs(batches) do
    if string.find(raw, batch, -90, true) and batch_of(raw) == batch then return batch end
  end
end
local function is_stored(batch)
  return scan(function(raw) return batch_among(raw, {{batch}}) end)
end
"""
"""`is_stored(batch)`, the one definition of "these records are there": a record with an id of this batch is."""


def digest_of(raw: bytes) -> str:
    """Return what `redis.sha1hex` gives within a script: SHA-1, hexadecimal. It names a record and protects nothing."""
    return sha1(raw, usedforsecurity=False).hexdigest()
