"""The identity of a stored record: equal for duplicates of one message, even after an edit. Pure.

A record with an id keeps its identity when its content is edited or when it carries a generation. Records of other
libraries have no id: two of them are the same only if their bytes are equal.

`identity` and `LUA` are the only definitions, one for Python and one for scripts.
"""

from __future__ import annotations

import re

# The comma before the name matters: without it, a longer name that ends in an escaped `"rid` would match.
_ENDS_WITH_ID = re.compile(
    rb',"rid":"([A-Za-z0-9_-]{16}\.[0-9]{1,9}/[0-9]{1,9})"(?:,"stand_in":true)?(?:,"g":[0-9]{1,9})?\}\Z'
)
_LONGEST_END = 80
"""Bytes; the longest end that can match has 76."""

LUA = r"""
local function identity(raw)
  if string.sub(raw, 1, 1) ~= '{' then return raw end
  local ending = string.sub(raw, -80)
  local generation = string.match(ending, ',"g":(%d+)}$')
  if generation and #generation <= 9 then ending = string.sub(ending, 1, -7 - #generation) .. '}' end
  ending = string.gsub(ending, ',"stand_in":true}$', '}')
  local batch, position, size = string.match(ending, ',"rid":"([%w_-]+)%.(%d+)/(%d+)"}$')
  if batch and #batch == 16 and #position <= 9 and #size <= 9 then
    return batch .. '.' .. position .. '/' .. size
  end
  return raw
end
"""
"""`identity` as a function for scripts."""


def identity(raw: bytes) -> bytes:
    """Return the text of a stored record's id, or all its bytes where it does not end as chatstash writes it.

    The id must be the last top-level field, except for `stand_in` and the generation. An id anywhere else, such as in a
    message's text or in `additional_kwargs`, was written by others and does not count.
    """
    match = _ENDS_WITH_ID.search(raw[-_LONGEST_END:]) if raw.startswith(b"{") else None
    return raw if match is None else match[1]


def has_id(raw: bytes) -> bool:
    """Tell whether a stored record's identity is its id."""
    return raw.startswith(b"{") and _ENDS_WITH_ID.search(raw[-_LONGEST_END:]) is not None
