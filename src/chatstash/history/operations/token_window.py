"""Reads as many of the newest records as fit the token budget; fetches at most about twice that many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from chatstash.history.cache.snapshot import Snapshot
from chatstash.history.operations.contents import Contents
from chatstash.history.operations.page import read_before
from chatstash.history.operations.window import read_window, system_message_in
from chatstash.history.records.record import Entry
from chatstash.history.steps.cursors import cursor_before
from chatstash.history.values.options import Options
from chatstash.history.values.results import END
from chatstash.history.values.selection import Page, TokenWindow, Window
from chatstash.rest.ops import Op


class _Found(NamedTuple):
    """The newest records so far.

    Attributes:
        system: The system message, if it is kept.
        entries: The records after it, oldest first.
        contents: The contents of the first read, with `omitted` and `cursor` of the last.
    """

    system: Entry | None
    entries: Sequence[Entry]
    contents: Contents


def read_token_window(
    key: str, wanted: TokenWindow, options: Options, snapshot: Snapshot | None = None
) -> Op[Contents]:
    """Read as many of the newest records as fit; fetches more, as pages, while all so far fit."""
    found = yield from _newest(key, wanted, options, snapshot)
    most = wanted.within.last
    while found.contents.cursor is not None and len(found.entries) < most and _all_fit(found, wanted):
        found = yield from _with_older(key, found, most)
    return _cut(found, wanted)


def _newest(key: str, wanted: TokenWindow, options: Options, snapshot: Snapshot | None) -> Op[_Found]:
    most = wanted.within.last
    window = Window(min(wanted.first, most), wanted.within.keep_system)
    contents = yield from read_window(key, window, options, snapshot)
    return _found(contents, wanted)


def _found(contents: Contents, wanted: TokenWindow) -> _Found:
    system = system_message_in(contents, keep_system=wanted.within.keep_system)
    return _Found(system, contents.entries if system is None else contents.entries[1:], contents)


def _all_fit(found: _Found, wanted: TokenWindow) -> bool:
    return wanted.count(found.system, found.entries) == len(found.entries)


def _with_older(key: str, found: _Found, most: int) -> Op[_Found]:
    contents = found.contents
    assert contents.cursor is not None
    limit = min(len(found.entries), most - len(found.entries))
    page = yield from read_before(key, Page(contents.cursor, limit))
    older, omitted = page.entries, page.omitted
    if found.system is not None and older and not omitted and older[0].raw == found.system.raw:
        older = older[1:]
    elif found.system is not None and omitted:
        omitted -= 1
    # Records that others append during the read do not belong to it: the length stays that of the first request.
    contents = contents._replace(omitted=omitted, cursor=page.cursor)
    return found._replace(entries=[*older, *found.entries], contents=contents)


def _cut(found: _Found, wanted: TokenWindow) -> Contents:
    count = wanted.count(found.system, found.entries)
    kept = found.entries[len(found.entries) - count :]
    cut = len(found.entries) - len(kept)
    omitted = found.contents.omitted + cut
    cursor = cursor_before(found.entries, cut, found.contents.length) or END if cut else found.contents.cursor
    entries = kept if found.system is None else [found.system, *kept]
    return found.contents._replace(
        entries=entries, omitted=omitted, cursor=cursor, system_kept=found.system is not None
    )
