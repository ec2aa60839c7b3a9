"""The constants that Python and the scripts share."""

from __future__ import annotations

from collections.abc import Mapping

from chatstash.history.records.index import FIELDS
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

CONSTANTS: Mapping[str, object] = {
    "REFUSED": REFUSED,
    "STORED": STORED,
    "EARLIER": EARLIER,
    "FIELDS": FIELDS,
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
