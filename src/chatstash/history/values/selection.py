"""Which records of a conversation to read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias, TypedDict

from chatstash.frozen import dataclass
from chatstash.history.records.record import Entry
from chatstash.history.tool_calls.view import ToolCalls, View, checked_start_on, checked_tool_calls
from chatstash.history.values.options import MOST_MESSAGES, Options, StartOn, checked_whole
from chatstash.history.values.results import Cursor

DEFAULT_PAGE = 50
NEIGHBOURS = 4
"""How many records older than a window are fetched with it: a duplicate is recognised by the record before it."""


class Window(NamedTuple):
    """The newest records.

    Attributes:
        last: How many records, at most.
        keep_system: Whether the conversation's first record comes before them, if it is a system message.
        view: How they are returned.
    """

    last: int
    keep_system: bool = False
    view: View = View("paired")

    @property
    def fetch_count(self) -> int:
        """How many of the newest records to ask for."""
        return self.last + NEIGHBOURS


class Page(NamedTuple):
    """The records before a cursor.

    Attributes:
        before: The cursor.
        limit: How many records, at most.
        view: How they are returned.
    """

    before: Cursor
    limit: int
    view: View = View("stored")


class Whole(NamedTuple):
    """A whole conversation.

    Attributes:
        keep_system: Whether the first record is returned if it is a system message, whatever `start_on` says.
        view: How the records are returned.
    """

    keep_system: bool = False
    view: View = View()


@dataclass(frozen=True)
class TokenWindow:
    """The newest records within a token budget.

    Attributes:
        within: How many records at most, and whether the system message is included.
        first: How many records to fetch first.
        count: Returns how many of the newest records are within the budget. It is given the system message, or None,
            and the newest records, oldest first.
    """

    within: Window
    first: int
    count: Callable[[Entry | None, Sequence[Entry]], int]


Selection: TypeAlias = Window | Page | TokenWindow | Whole


class ReadOptions(TypedDict, total=False):
    """Which records a read returns, as keyword arguments; None means the conversation's option of that name.

    Attributes:
        last: Return at most this many of the newest records; None for the option `read_last`, else all.
        before: Return the records before this cursor, a `cursor` of an earlier result or its text.
        limit: Return at most this many records before the cursor; None for 50.
        keep_system: Whether the newest records come with the conversation's first record, if that is a system message;
            not with `before`.
        start_on: Type of the first record returned, or several; not with `before`. See `Options`.
        tool_calls: How tool calls and results are returned. See `Options`.
    """

    last: int | None
    before: Cursor | str | None
    limit: int | None
    keep_system: bool | None
    start_on: StartOn | None
    tool_calls: ToolCalls | None


def selection_of(options: Options, wanted: ReadOptions) -> Window | Page | Whole:
    """Return the selection of a read."""
    if wanted.get("before") is not None:
        return _page(options, wanted)
    if wanted.get("limit") is not None:
        raise ValueError("limit= requires before=; use last= for the newest messages")
    last, keep_system, start_on = wanted.get("last"), wanted.get("keep_system"), wanted.get("start_on")
    if not isinstance(keep_system, bool | None):
        raise ValueError(f"keep_system must be True, False or None, not {keep_system!r}")
    limit = options.read_limit if last is None else checked_whole("last", last, 1, MOST_MESSAGES)
    view = View(
        _tool_calls(options, wanted) or (None if limit is None else "paired"),
        checked_start_on(options.start_on if start_on is None else start_on),
    )
    keep_system = options.keep_system if keep_system is None else keep_system
    return Whole(keep_system, view) if limit is None else Window(limit, keep_system, view)


def _page(options: Options, wanted: ReadOptions) -> Page:
    for name in ("last", "start_on", "keep_system"):
        if wanted.get(name) is not None:
            raise ValueError(f"give either {name}= or before=, not both: a page ends directly before its cursor")
    before, limit = wanted.get("before"), wanted.get("limit")
    size = DEFAULT_PAGE if limit is None else checked_whole("limit", limit, 1, MOST_MESSAGES)
    cursor = before if isinstance(before, Cursor) else Cursor.parse(before)  # type: ignore[arg-type]
    tool_calls = _tool_calls(options, wanted) or "stored"
    # No call on a page waits for its tool: there are newer records.
    return Page(cursor, size, View("answered" if tool_calls == "paired" else tool_calls))


def _tool_calls(options: Options, wanted: ReadOptions) -> ToolCalls | None:
    given = wanted.get("tool_calls")
    return options.tool_calls if given is None else checked_tool_calls(given)
