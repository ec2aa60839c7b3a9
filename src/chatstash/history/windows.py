"""Reading the newest records, as operations. Pure.

What a window costs depends on what it returns, and not on what is stored. It is what a model is given: it never begins
with a tool's result whose call is cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import dropwhile

from chatstash.errors import UnreadableRecord
from chatstash.history import scripts
from chatstash.history.cursors import cursor_before, remove_duplicates
from chatstash.history.fetch import Fetched, fetch
from chatstash.history.known import Known
from chatstash.history.lists import counts, run_script
from chatstash.history.message_types import SYSTEM_TYPES, TOOL_TYPES
from chatstash.history.options import Options
from chatstash.history.reads import Contents, entries_of, newest_of
from chatstash.history.records import Record
from chatstash.history.selection import Window
from chatstash.history.twins import without_twins
from chatstash.rest.commands import Cost, Effect
from chatstash.rest.ops import Op

_Entries = Sequence[Record | UnreadableRecord]


def read_window(key: str, window: Window, options: Options, known: Known | None = None) -> Op[Contents]:
    """Read the newest records; one request, two commands, one more to keep the system message and to refresh the ttl.

    Where enough is known, another command more. More requests where that holds no longer, where the reply would be over
    the server's limit, or where a record may be a late copy: its oldest copy may be outside the window.

    Raises:
        WrongType: The key holds something else, which was left as it was.
        RequestTooLarge: One record alone is over the server's limit.
    """
    found = yield from fetch(key, window, options, known)
    entries = _entries_of(found, key)
    if (yield from remove_duplicates(key, found.stored, entries, options)):
        found = yield from fetch(key, window, options)
        entries = _entries_of(found, key)
    return _contents(key, window, found, entries)


def _entries_of(found: Fetched, key: str) -> _Entries:
    return entries_of(found.stored, key, found.length - len(found.stored))


def _contents(key: str, window: Window, found: Fetched, entries: _Entries) -> Contents:
    entries, _ = without_twins(entries)
    cut = max(0, len(found.stored) - window.last)
    kept = list(dropwhile(is_tool_result, entries[cut:]))
    omitted = found.length - len(kept)
    cursor = cursor_before(entries, len(entries) - len(kept), found.length) if omitted else None
    system = entries_of([found.first], key) if omitted and found.first is not None else []
    system_kept = any(map(is_system, system))
    if system_kept:
        kept, omitted = [*system, *kept], omitted - 1
    return Contents(
        kept, found.length, newest_of(found.stored),
        omitted=omitted, cursor=cursor, fetched=found, system_kept=system_kept,
    )  # fmt: skip


def is_system(entry: Record | UnreadableRecord) -> bool:
    """Tell whether it is a system message."""
    return isinstance(entry, Record) and entry.type in SYSTEM_TYPES


def is_tool_result(entry: Record | UnreadableRecord) -> bool:
    """Tell whether it is the result of a tool, which goes with a call before it."""
    return isinstance(entry, Record) and entry.type in TOOL_TYPES


def count(key: str) -> Op[tuple[int, Cost]]:
    """Count the records of a conversation, but not late copies among the newest hundred; one request, 3 commands.

    Raises:
        WrongType: The key holds something else, which was left as it was.
    """
    answer, cost = yield from run_script(key, scripts.counting(key), Effect.READ)
    (length,) = counts(answer, 1, Effect.READ)
    return length, cost
