"""Reads a conversation up to before a message, for a turn that replaces it."""

from __future__ import annotations

from collections.abc import Sequence

from chatstash.errors import MessageNotFound
from chatstash.history.cache.cache import ReadCache
from chatstash.history.operations.contents import Contents
from chatstash.history.operations.select import read_selection
from chatstash.history.records.message_id import Named, is_named
from chatstash.history.records.record import Entry
from chatstash.history.tool_calls.view import AS_STORED
from chatstash.history.values.options import Options
from chatstash.history.values.selection import Selection, TokenWindow, Whole, Window
from chatstash.rest.ops import Op


def read_before_message(
    key: str, message: Named, selection: Selection, options: Options, cache: ReadCache | None
) -> Op[Contents]:
    """Read a selection without a message and all newer ones; the whole conversation if the message is older.

    The contents tell the state of the whole conversation, so that a guarded turn notices what others change.
    """
    contents = yield from read_selection(key, selection, options, cache)
    at = _place_of(message, contents.entries)
    if at is None and (contents.omitted or contents.view != AS_STORED):
        contents = yield from read_selection(key, Whole(view=AS_STORED), options, cache)
        at = _place_of(message, contents.entries)
    if at is None:
        raise MessageNotFound(message.id, key)
    entries = list(contents.entries)[:at]
    newest = entries[-_most(selection, len(entries)) :]
    return contents._replace(entries=newest, omitted=contents.omitted + len(entries) - len(newest))


def _most(selection: Selection, most: int) -> int:
    """Return how many records a selection returns, at most."""
    match selection:
        case Window(last=last) | TokenWindow(within=Window(last=last)):
            return max(1, last)
    return max(1, most)


def _place_of(message: Named, entries: Sequence[Entry]) -> int | None:
    # Of several messages with one id, the newest is meant, as in the scripts.
    return next((at for at in reversed(range(len(entries))) if is_named(entries[at], message)), None)
