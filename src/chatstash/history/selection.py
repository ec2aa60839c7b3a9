"""Which records of a conversation to read. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from chatstash.errors import UnreadableRecord
from chatstash.history.options import MOST_MESSAGES, check_whole
from chatstash.history.records import Record
from chatstash.history.results import Cursor

DEFAULT_PAGE = 50
_NEIGHBOURS = 4

Entry: TypeAlias = Record | UnreadableRecord


class Window(NamedTuple):
    """What a model is given.

    Attributes:
        last: How many of the newest records, at most.
        keep_system: Whether the conversation's first record is given as well, before them, where it is a system
            message.
    """

    last: int
    keep_system: bool = False

    @property
    def reach(self) -> int:
        """How many of the newest records to ask for: a few more, which show duplicates among the oldest of them."""
        return self.last + _NEIGHBOURS


class Page(NamedTuple):
    """What a person is shown who looks further back.

    Attributes:
        before: Where the last page ended.
        limit: How many records, at most.
    """

    before: Cursor
    limit: int


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


Selection: TypeAlias = Window | Page | Fitting | None
"""None is what the conversation's options say: its `max_messages`, or all."""


def selection_of(last: int | None, before: Cursor | str | None, limit: int | None, *, keep_system: bool) -> Selection:
    """Return what the arguments of `read` ask for.

    Raises:
        ValueError: They contradict each other, or one of them cannot be right.
    """
    if before is None:
        if limit is not None:
            raise ValueError("limit= goes with before=; use last= for the newest messages")
        return None if last is None else Window(check_whole("last", last, 1, MOST_MESSAGES), keep_system)
    if last is not None:
        raise ValueError("give either last= or before=, not both")
    size = DEFAULT_PAGE if limit is None else check_whole("limit", limit, 1, MOST_MESSAGES)
    if isinstance(before, Cursor):
        return Page(before, size)
    return Page(Cursor.parse(before), size)
