"""The constants that Python and the scripts share: a script begins with those that it names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from chatstash.history.records.keys import IN_FLIGHT_TTL
from chatstash.history.records.markers import VOID
from chatstash.history.records.message_types import AI_TYPES, FUNCTION_TYPES, HUMAN_TYPES, TOOL_TYPES
from chatstash.history.records.places import DIGEST_LENGTH
from chatstash.history.tool_calls.formats import (
    BEDROCK_CALL,
    BEDROCK_RESULT,
    CALL_BLOCKS,
    OPTIONAL_CALL_BLOCKS,
    RESULT_BLOCKS,
)

REFUSED, STORED, EARLIER = 0, 1, 2
"""The status of an append: refused by the script, stored by it, or stored earlier."""


_SHARED: Mapping[str, object] = {
    "REFUSED": REFUSED,
    "STORED": STORED,
    "EARLIER": EARLIER,
    "VOID": VOID,
    "IN_FLIGHT_TTL": IN_FLIGHT_TTL,
    "DIGEST_LENGTH": DIGEST_LENGTH,
    "AI_TYPES": AI_TYPES,
    "TOOL_TYPES": TOOL_TYPES,
    "FUNCTION_TYPES": FUNCTION_TYPES,
    "HUMAN_TYPES": HUMAN_TYPES,
    "CALL_BLOCKS": {**CALL_BLOCKS, **OPTIONAL_CALL_BLOCKS},
    "RESULT_BLOCKS": RESULT_BLOCKS,
    "BEDROCK_CALL": BEDROCK_CALL,
    "BEDROCK_RESULT": BEDROCK_RESULT,
}


def locals_for(script: str) -> list[str]:
    """Return the lines of Lua that define the constants which a script names."""
    named = set(re.findall(r"\b[A-Z_]{4,}\b", script)) & _SHARED.keys()
    return [f"local {name} = {_lua(value)}" for name, value in _SHARED.items() if name in named]


def _lua(value: object) -> str:
    """Return a value in Lua; a frozenset is a table that has `true` at each member."""
    match value:
        case Mapping():
            return "{" + ",".join(f"[{name!r}]={_lua(entry)}" for name, entry in value.items()) + "}"
        case frozenset():
            return _lua(dict.fromkeys(sorted(value), True))
        case tuple():
            return "{" + ",".join(map(_lua, value)) + "}"
        case bool():
            return str(value).lower()
        case _:
            return repr(value)
