"""The generation of a conversation: what an edit in place counts up, so that whoever knew it before notices. Pure.

It is the number `g`, after the id, in the newest record that has an id. It is no part of what the record says: records
that differ by it alone are the same.
"""

from __future__ import annotations

import re

from chatstash.errors import UnreadableRecord
from chatstash.history.records import decode

_END = re.compile(rb'("rid":"[\w-]{16}\.\d{1,9}/\d{1,9}")(,"g":\d{1,9})?\}\Z', re.ASCII)
_LONGEST_END = 80

LUA = r"""
local ended = '("rid":"[%w_-]+%.%d+/%d+")'
local function without_generation(raw) return (string.gsub(raw, ended .. ',"g":%d+}$', '%1}')) end
"""
"""A function for scripts: a record without its generation."""

COUNT_UP = r"""
for place, raw in ipairs(call('LRANGE', KEYS[1], 0, 199)) do
  local bare = without_generation(raw)
  if string.find(bare, ended .. '}$') then
    local generation = bare == raw and 0 or tonumber(string.match(raw, '%d+', #bare))
    call('LSET', KEYS[1], place - 1, string.sub(bare, 1, -2) .. ',"g":' .. (generation + 1) .. '}')
    break
  end
end
"""
"""The end of a script that edits: counts up the generation of the conversation at its first key. It needs `LUA`, and
`call` as the name of what runs a command.

Among the newest 200 records: no one who knows a conversation looks for its newest record further back.
"""


def can_carry_generation(raw: bytes) -> bool:
    """Tell whether a stored record ends with an id of chatstash's, as all do that it writes."""
    return _END.search(raw[-_LONGEST_END:]) is not None


def has_generation(raw: bytes) -> bool:
    """Tell whether a stored record has a generation, in whatever form it is written."""
    try:
        return b'"g"' in raw and "g" in decode(raw).other
    except UnreadableRecord:
        return False


def without_generation(raw: bytes) -> bytes:
    """Return a stored record without its generation."""
    end = raw[-_LONGEST_END:]
    return raw[: -len(end)] + _END.sub(rb"\1}", end) if end else raw
