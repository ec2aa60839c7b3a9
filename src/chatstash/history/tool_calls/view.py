"""How the records of a read are returned: the type of the first, and how tool calls and results are paired."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Literal, NamedTuple, get_args

from chatstash.history.records.message_types import KNOWN_TYPES
from chatstash.history.records.record import Entry, Record
from chatstash.history.tool_calls.formats import is_only_results
from chatstash.history.tool_calls.normalization import normalize

ToolCalls = Literal["stored", "paired", "answered"]
"""How tool calls and results are returned: as stored; in pairs, except calls at the end, whose tools may still be
running; or in pairs throughout."""


class View(NamedTuple):
    """How records are returned.

    Attributes:
        tool_calls: How tool calls and results are returned; None for as stored, or in pairs if an unreadable record was
            skipped.
        start_on: Types of the first record, after a kept system message; empty for any.
    """

    tool_calls: ToolCalls | None = None
    start_on: tuple[str, ...] = ()


AS_STORED = View()


class Viewed(NamedTuple):
    """The records to return, and how many of the oldest are omitted."""

    entries: list[Entry]
    omitted: int


def apply_view(entries: Sequence[Entry], view: View) -> Viewed:
    """Return records in a view, and how many of the oldest are omitted."""
    in_pairs = view.tool_calls not in {None, "stored"}
    start = _before_start(entries, view.start_on, in_pairs=in_pairs)
    while in_pairs and start < len(entries):
        result = normalize(entries[start:], allow_pending=view.tool_calls == "paired")
        wrong = _before_start(result.entries, view.start_on, in_pairs=False)
        if not wrong:
            return Viewed(result.entries, start + result.omitted_from(len(entries) - start))
        # The record to start on held only a call that is left out.
        start = start + max(1, result.indices[wrong]) if wrong < len(result.indices) else len(entries)
    return Viewed(list(entries[start:]), start)


def _before_start(entries: Sequence[Entry], start_on: tuple[str, ...], *, in_pairs: bool) -> int:
    """Return how many records precede the first one to start on; in pairs, a result without its call is not one."""

    def is_no_start(entry: Entry) -> bool:
        is_wanted = isinstance(entry, Record) and entry.type in start_on
        return not is_wanted or (in_pairs and isinstance(entry, Record) and is_only_results(entry))

    return sum(1 for _ in takewhile(is_no_start, entries)) if start_on else 0


def checked_start_on(start_on: object) -> tuple[str, ...]:
    """Return `start_on` as a tuple of message types, or raise ValueError where one of them is unknown."""
    names = (start_on,) if isinstance(start_on, str) else start_on
    if not isinstance(names, Sequence) or not all(isinstance(name, str) and name in KNOWN_TYPES for name in names):
        raise ValueError(
            f"start_on must be a message type, such as 'human', or several, not {start_on!r}; "
            f"the types are {', '.join(sorted(KNOWN_TYPES))}"
        )
    return tuple(names)


def checked_tool_calls(tool_calls: ToolCalls) -> ToolCalls:
    """Return `tool_calls`, or raise ValueError where it is not one of `ToolCalls`."""
    if tool_calls not in get_args(ToolCalls):
        raise ValueError(f"tool_calls must be one of {', '.join(get_args(ToolCalls))}, not {tool_calls!r}")
    return tool_calls
