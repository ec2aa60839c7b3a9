"""Reads a conversation up to before a message, for a turn that replaces it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from chatstash.errors import MessageNotFound
from chatstash.history.cache.cache import ReadCache
from chatstash.history.operations.contents import Contents
from chatstash.history.operations.select import read_selection
from chatstash.history.operations.views import in_view
from chatstash.history.records.message_id import Named, is_named
from chatstash.history.records.record import Entry
from chatstash.history.tool_calls.view import AS_STORED, View
from chatstash.history.values.options import MOST_MESSAGES, Options
from chatstash.history.values.selection import NEIGHBOURS, Selection, TokenWindow, Whole, Window
from chatstash.rest.ops import Op

_Count = Callable[[Entry | None, Sequence[Entry]], int]


def read_before_message(
    key: str, message: Named, selection: Selection, options: Options, cache: ReadCache | None
) -> Op[Contents]:
    """Read a selection as if the record before a message were the newest.

    The contents tell the state of the whole conversation, so that a guarded turn notices what others change. Costs as
    much as the selection; further back, one more request each time that the number of records read doubles.
    """
    read = yield from read_selection(key, _with_newer(selection, message), options, cache)
    at = _place_of(message, read.entries)
    if at is None:
        raise MessageNotFound(message.id, key)
    # The view's cursor counts from the newest of these records; the turn compares the length of them all.
    before = read._replace(entries=list(read.entries)[:at], length=read.length - (len(read.entries) - at))
    seen = in_view(before, _view_of(selection), keep_system=_keeps_system(selection, read))
    return seen._replace(length=read.length)


def _with_newer(selection: Selection, message: Named) -> Selection:
    """Return the selection of the same records and, as they are stored, the message and all newer ones."""
    count: _Count
    match selection:
        case Window():
            within, first, count = selection, selection.last + NEIGHBOURS, _all
        case TokenWindow():
            within, first, count = selection.within, selection.first, selection.count
        case _:
            return Whole(selection.keep_system if isinstance(selection, Whole) else False)
    counting = partial(_count_with_newer, message, within.last, count)
    return TokenWindow(Window(MOST_MESSAGES, within.keep_system, AS_STORED), first, counting)


def _view_of(selection: Selection) -> View:
    return selection.within.view if isinstance(selection, TokenWindow) else selection.view


def _keeps_system(selection: Selection, read: Contents) -> bool:
    return selection.keep_system if isinstance(selection, Whole) else read.system_kept


def _all(system: Entry | None, entries: Sequence[Entry]) -> int:  # noqa: ARG001
    return len(entries)


def _count_with_newer(message: Named, last: int, count: _Count, system: Entry | None, entries: Sequence[Entry]) -> int:
    at = _place_of(message, entries)
    if at is None:
        return len(entries)  # it is further back
    return len(entries) - at + count(system, entries[max(0, at - last) : at])


def _place_of(message: Named, entries: Sequence[Entry]) -> int | None:
    # Of several messages with one id, the newest is meant, as in the scripts.
    return next((at for at in reversed(range(len(entries))) if is_named(entries[at], message)), None)
