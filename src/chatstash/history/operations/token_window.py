"""Reading as many of the newest records as fit, as an operation: no more is fetched than about twice that. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from chatstash.history.cache.snapshot import Snapshot
from chatstash.history.operations.page import read_before
from chatstash.history.operations.presenting import presented
from chatstash.history.operations.read import Contents
from chatstash.history.operations.window import kept_system, read_window
from chatstash.history.options import Options
from chatstash.history.records.record import Entry
from chatstash.history.results import END
from chatstash.history.selection import Page, TokenWindow, Window
from chatstash.history.steps.cursors import cursor_before
from chatstash.rest.ops import Op


class _Found(NamedTuple):
    """The system message, if it is kept; the newest records after it, oldest first; and what else reading gave."""

    system: Entry | None
    entries: Sequence[Entry]
    contents: Contents


def read_fitting(key: str, wanted: TokenWindow, options: Options, snapshot: Snapshot | None = None) -> Op[Contents]:
    """Read as many of the newest records as fit; costs what a window does, where the first guess was enough.

    Where all of that fits and there is more, as many again are read, in a request of three commands, until something
    does not fit.

    Raises:
        WrongType: The key holds something else, which was left as it was.
        RequestTooLarge: One record alone is over the server's limit.
    """
    found = yield from _newest(key, wanted, options, snapshot)
    most = wanted.within.last
    while found.contents.cursor is not None and len(found.entries) < most and _all_fit(found, wanted):
        found = yield from _further_back(key, found, most)
    return _cut(found, wanted)


def _newest(key: str, wanted: TokenWindow, options: Options, snapshot: Snapshot | None) -> Op[_Found]:
    most = wanted.within.last
    window = Window(min(wanted.first, most), wanted.within.keep_system)
    contents = yield from read_window(key, window, options, snapshot)
    return _found(contents, wanted)


def _found(contents: Contents, wanted: TokenWindow) -> _Found:
    system = kept_system(contents, keep_system=wanted.within.keep_system)
    return _Found(system, contents.entries if system is None else contents.entries[1:], contents)


def _all_fit(found: _Found, wanted: TokenWindow) -> bool:
    return wanted.count(found.system, found.entries) == len(found.entries)


def _further_back(key: str, found: _Found, most: int) -> Op[_Found]:
    contents = found.contents
    assert contents.cursor is not None
    limit = min(len(found.entries), most - len(found.entries))
    page = yield from read_before(key, Page(contents.cursor, limit))
    older, omitted = page.entries, page.omitted
    if found.system is not None and older and not omitted and older[0].raw == found.system.raw:
        older = older[1:]
    elif found.system is not None and omitted:
        omitted -= 1
    # What others append meanwhile is no part of it: the length stays that of the first look.
    gone_on = contents._replace(omitted=omitted, cursor=page.cursor)
    return found._replace(entries=[*older, *found.entries], contents=gone_on)


def _cut(found: _Found, wanted: TokenWindow) -> Contents:
    count = wanted.count(found.system, found.entries)
    kept = found.entries[len(found.entries) - count :]
    cut = len(found.entries) - len(kept)
    omitted = found.contents.omitted + cut
    cursor = cursor_before(found.entries, cut, found.contents.length) or END if cut else found.contents.cursor
    entries = kept if found.system is None else [found.system, *kept]
    contents = found.contents._replace(
        entries=entries, omitted=omitted, cursor=cursor, system_kept=found.system is not None
    )
    return presented(contents, wanted.within.view, keep_system=found.system is not None)
