"""The shape in which records are returned: the type of the first, and how tool calls and results are paired. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Literal, NamedTuple, get_args

from chatstash.history.records.message_types import KNOWN_TYPES
from chatstash.history.records.record import Entry, Record
from chatstash.history.tool_calls.formats import is_only_results
from chatstash.history.tool_calls.normalization import paired

ToolCalls = Literal["stored", "paired", "answered"]
"""How tool calls and results are returned: as stored; in pairs, except calls at the end, whose tools may still be
running; or in pairs throughout."""


class Shape(NamedTuple):
    """The shape of the records of a read.

    Attributes:
        tool_calls: How tool calls and results are returned; None for as stored, or in pairs if an unreadable record was
            passed over.
        start_on: Types of the first record, after a kept system message; empty for any.
    """

    tool_calls: ToolCalls | None = None
    start_on: tuple[str, ...] = ()


AS_STORED = Shape()


class Shaped(NamedTuple):
    """The records to return, and how many of the oldest were left out."""

    entries: list[Entry]
    left_out: int


def shaped(entries: Sequence[Entry], shape: Shape) -> Shaped:
    """Return records in a shape, and how many of the oldest were left out.

    Args:
        entries: The records, oldest first, without a kept system message.
        shape: The shape.
    """
    in_pairs = shape.tool_calls not in {None, "stored"}
    begin = _before(entries, shape.start_on, in_pairs=in_pairs)
    while in_pairs and begin < len(entries):
        result = paired(entries[begin:], last_waits=shape.tool_calls == "paired")
        wrong = _before(result.entries, shape.start_on, in_pairs=False)
        if not wrong:
            return Shaped(result.entries, begin + result.left_out_of(len(entries) - begin))
        # What it should begin with was nothing but a call that is left out.
        begin = begin + max(1, result.places[wrong]) if wrong < len(result.places) else len(entries)
    return Shaped(list(entries[begin:]), begin)


def _before(entries: Sequence[Entry], start_on: tuple[str, ...], *, in_pairs: bool) -> int:
    """Return how many records come before the first that a read may begin with: one whose call is cut off may not."""

    def is_no_start(entry: Entry) -> bool:
        is_wanted = isinstance(entry, Record) and entry.type in start_on
        return not is_wanted or (in_pairs and isinstance(entry, Record) and is_only_results(entry))

    return sum(1 for _ in takewhile(is_no_start, entries)) if start_on else 0


def checked_start_on(start_on: object) -> tuple[str, ...]:
    """Return the types of messages that `start_on` names; raises ValueError where one of them is none."""
    names = (start_on,) if isinstance(start_on, str) else start_on
    if not isinstance(names, Sequence) or not all(isinstance(name, str) and name in KNOWN_TYPES for name in names):
        raise ValueError(
            f"start_on must be a type of message, such as 'human', or several of them, not {start_on!r}; "
            f"the types are {', '.join(sorted(KNOWN_TYPES))}"
        )
    return tuple(names)


def checked_tool_calls(tool_calls: ToolCalls) -> ToolCalls:
    """Return how tool calls are given, or raise ValueError where it is no such way."""
    if tool_calls not in get_args(ToolCalls):
        raise ValueError(f"tool_calls must be one of {', '.join(get_args(ToolCalls))}, not {tool_calls!r}")
    return tool_calls
