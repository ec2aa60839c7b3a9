"""Where batches stand that may have duplicates: noted at a key beside the conversation. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from chatstash.history.records.keys import IN_FLIGHT_TTL, companion_key

DIGEST_LENGTH = 8
"""How many characters of a digest tell the record before a batch."""

_NOTED = re.compile(r"(\S{16}):(-?[0-9]+):([0-9a-f]*)")


def places_key(key: str) -> str:
    """Return the key at which it is noted where batches stand that may have duplicates."""
    return companion_key("places", key)


class Place(NamedTuple):
    """Where a batch stands.

    Attributes:
        first: The place of its first record, 0 for the oldest record of all; negative where records before that place
            were trimmed, and its own first ones.
        older: The beginning of the SHA-1 of the identity of the record before it; empty where there is none.
    """

    first: int
    older: str


def places_of(noted: object) -> dict[str, Place]:
    """Return the place of each batch that was noted."""
    if not isinstance(noted, bytes):
        return {}
    found = (_NOTED.fullmatch(word) for word in noted.decode("ascii", "replace").split())
    return {entry[1]: Place(int(entry[2]), entry[3]) for entry in found if entry}


PLACE = f"""
local function place_of(batch, place, older)
  local digest = older and string.sub(redis.sha1hex(identity(older)), 1, {DIGEST_LENGTH}) or ''
  return batch .. ':' .. place .. ':' .. digest
end
"""
"""`place_of(batch, place, older)`, what tells a batch from its duplicates: the place of its first record, 0 for the
oldest of all, and a digest of the record before it."""

NOTE_PLACES = f"""{PLACE}
local function note_places(places, batches, are_settled)
  local settled, looked_at = {{}}, {{}}
  local old, new, section = {{}}, {{}}, settled
  for entry in string.gmatch(call('GET', places) or '', '%S+') do
    local batch = string.sub(entry, 1, 16)
    if entry == '|' then section = looked_at
    elseif batches[batch] then old[batch] = section
    else section[#section + 1] = entry end
  end
  for batch, entry in pairs(batches) do
    section = (are_settled or old[batch] == settled) and settled or looked_at
    section[#section + 1] = entry
  end
  for _, entries in ipairs({{settled, looked_at}}) do
    while #entries > 50 do table.remove(entries, 1) end
  end
  local noted = table.concat(settled, ' ') .. ' | ' .. table.concat(looked_at, ' ')
  call('SET', places, noted, 'EX', {IN_FLIGHT_TTL})
end
"""
"""Notes where batches stand that may have duplicates: first those of settlements, whose late request may still arrive,
and then those that were looked at. However many are looked at, no settlement is forgotten for that."""
