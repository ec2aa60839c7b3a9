"""The generation of a conversation: a number that an edit in place increments, so that readers notice. Pure.

It is `g`, the last field of the newest record that has an id (`identity`). It is not part of the message: records that
differ only in it are equal.
"""

from __future__ import annotations

import re
from dataclasses import replace

from chatstash.errors import UnreadableRecord
from chatstash.history.records import identity
from chatstash.history.records.decoding import decode
from chatstash.history.records.record import Record, RecordId

_GENERATION = re.compile(rb',"g":[0-9]{1,9}\}\Z')
_LONGEST_GENERATION = 16

LUA = (
    identity.LUA
    + r"""
local function without_generation(raw)
  local generation = identity(raw) ~= raw and string.match(string.sub(raw, -16), ',"g":(%d+)}$')
  return generation and string.sub(raw, 1, -7 - #generation) .. '}' or raw
end
"""
)
"""Functions for scripts: `identity`, and `without_generation`, which gives a record without its generation."""

COUNT_UP = r"""
for place, raw in ipairs(call('LRANGE', KEYS[1], 0, 199)) do
  if identity(raw) ~= raw then
    local bare = without_generation(raw)
    local generation = bare == raw and 0 or tonumber(string.match(raw, '%d+', #bare))
    local following = generation % 999999999 + 1
    call('LSET', KEYS[1], place - 1, string.sub(bare, 1, -2) .. ',"g":' .. following .. '}')
    break
  end
end
"""
"""The end of a script that edits: counts up the generation of the conversation at its first key. It needs `LUA`, and
`call` as the name of what runs a command.

Among the newest 200 records: no reader looks for its newest record further back.
"""


def has_generation(raw: bytes) -> bool:
    """Tell whether a stored record has a generation, in whatever form it is written."""
    try:
        return b'"g"' in raw and "g" in decode(raw).other
    except UnreadableRecord:
        return False


def with_new_id(record: Record, record_id: RecordId) -> Record:
    """Return a record with a new id and without the generation that it may have where it was read."""
    other = {name: value for name, value in record.other.items() if name != "g"} if record.other else {}
    return replace(record, id=record_id, other=other)


def without_generation(raw: bytes) -> bytes:
    """Return a stored record without its generation."""
    found = _GENERATION.search(raw[-_LONGEST_GENERATION:]) if identity.has_id(raw) else None
    return raw if found is None else raw[: -len(found[0])] + b"}"
