"""Which records of a conversation to read. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from chatstash.history.options import MOST_MESSAGES, Options, check_whole
from chatstash.history.records.record import Entry
from chatstash.history.results import Cursor
from chatstash.history.tool_calls.view import ToolCalls, View, checked_start_on, checked_tool_calls

DEFAULT_PAGE = 50
NEIGHBOURS = 4
"""How many records older than a window are read with it: a duplicate is recognised by the record before it."""


class Window(NamedTuple):
    """What a model is given.

    Attributes:
        last: How many of the newest records, at most.
        keep_system: Whether the conversation's first record is given as well, before them, where it is a system
            message.
        view: How they are returned.
    """

    last: int
    keep_system: bool = False
    view: View = View("paired")

    @property
    def reach(self) -> int:
        """How many of the newest records to ask for."""
        return self.last + NEIGHBOURS


class Page(NamedTuple):
    """What a person is shown who looks further back.

    Attributes:
        before: Where the last page ended.
        limit: How many records, at most.
        view: How they are returned.
    """

    before: Cursor
    limit: int
    view: View = View("stored")


class Whole(NamedTuple):
    """A whole conversation.

    Attributes:
        keep_system: Whether the conversation's first record is given, where it is a system message, however it begins.
        view: How the records are returned.
    """

    keep_system: bool = False
    view: View = View()


@dataclass(frozen=True, slots=True, eq=False)
class Fitting:
    """What a model is given, as much as fits.

    Attributes:
        within: How many records at most, and whether the system message is given as well.
        first: How many to ask for first.
        count: Tells how many fit: given the system message, or None, and the newest records, oldest first, of which
            the newest count.
    """

    within: Window
    first: int
    count: Callable[[Entry | None, Sequence[Entry]], int]


Selection: TypeAlias = Window | Page | Fitting | Whole


class Wanted(NamedTuple):
    """What a call of `read` asks for; None is what the conversation's options say.

    Attributes:
        last: How many of the newest records, at most.
        before: Where the last page ended.
        limit: How many records before that, at most.
        keep_system: Whether the conversation's first record is given as well, where it is a system message.
        start_on: The types of which the first record must be.
        tool_calls: How tool calls and results are given.
    """

    last: int | None = None
    before: Cursor | str | None = None
    limit: int | None = None
    keep_system: bool | None = None
    start_on: str | Sequence[str] | None = None
    tool_calls: ToolCalls | None = None


def selection_of(wanted: Wanted, options: Options) -> Selection:
    """Return what is to be read.

    Raises:
        ValueError: The arguments contradict each other, or one of them cannot be right.
    """
    if wanted.before is not None:
        return _page(wanted, options)
    if wanted.limit is not None:
        raise ValueError("limit= goes with before=; use last= for the newest messages")
    keep_system = options.keep_system if wanted.keep_system is None else wanted.keep_system
    most = options.most_read if wanted.last is None else check_whole("last", wanted.last, 1, MOST_MESSAGES)
    start_on = checked_start_on(options.start_on if wanted.start_on is None else wanted.start_on)
    tool_calls = _tool_calls(wanted, options) or (None if most is None else "paired")
    view = View(tool_calls, start_on)
    return Whole(keep_system, view) if most is None else Window(most, keep_system, view)


def _page(wanted: Wanted, options: Options) -> Page:
    if wanted.last is not None:
        raise ValueError("give either last= or before=, not both")
    if wanted.start_on is not None:
        raise ValueError("give either start_on= or before=, not both: a page always ends directly before its cursor")
    size = DEFAULT_PAGE if wanted.limit is None else check_whole("limit", wanted.limit, 1, MOST_MESSAGES)
    before = wanted.before if isinstance(wanted.before, Cursor) else Cursor.parse(wanted.before)  # type: ignore[arg-type]
    tool_calls = _tool_calls(wanted, options) or "stored"
    # No call on a page waits for its tool: there are newer records.
    return Page(before, size, View("answered" if tool_calls == "paired" else tool_calls))


def _tool_calls(wanted: Wanted, options: Options) -> ToolCalls | None:
    return options.tool_calls if wanted.tool_calls is None else checked_tool_calls(wanted.tool_calls)
