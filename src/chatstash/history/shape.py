"""The shape in which records are returned: the type of the first, and how tool calls and results are paired. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Literal, NamedTuple, TypeAlias, get_args

from chatstash.errors import UnreadableRecord
from chatstash.history.message_types import KNOWN_TYPES
from chatstash.history.paired import Paired, paired
from chatstash.history.records import Record

Entry: TypeAlias = Record | UnreadableRecord

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


def shaped(entries: Sequence[Entry], shape: Shape) -> Paired:
    """Return records in a shape, and how many of the oldest were left out.

    Args:
        entries: The records, oldest first, without a kept system message.
        shape: The shape.
    """
    left_out = 0
    given = list(entries)
    while True:
        given = given[(gone := _before(given, shape.start_on)) :]
        left_out += gone
        if shape.tool_calls in {None, "stored"} or not given:
            return Paired(given, left_out)
        result = paired(given, last_waits=shape.tool_calls == "paired")
        # What it should begin with may have been nothing but results.
        if not result.entries or _before(result.entries[:1], shape.start_on) == 0:
            return Paired(result.entries, left_out + result.left_out)
        given, left_out = given[1:], left_out + 1


def _before(entries: Sequence[Entry], start_on: tuple[str, ...]) -> int:
    """Return how many records come before the first that a read may begin with."""
    if not start_on:
        return 0
    return sum(1 for _ in takewhile(lambda entry: not (isinstance(entry, Record) and entry.type in start_on), entries))


def checked_start_on(start_on: str | Sequence[str]) -> tuple[str, ...]:
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
