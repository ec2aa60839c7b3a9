"""Reading a selection of a conversation, through the cache if there is one, as an operation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from chatstash.history.cache.cache import ReadCache
from chatstash.history.cache.snapshot import Snapshot
from chatstash.history.operations.contents import Contents
from chatstash.history.operations.page import read_before
from chatstash.history.operations.read import read
from chatstash.history.operations.token_window import read_token_window
from chatstash.history.operations.views import in_view, page_in_view
from chatstash.history.operations.window import read_window
from chatstash.history.values.options import Options
from chatstash.history.values.results import END
from chatstash.history.values.selection import Page, Selection, TokenWindow, Whole, Window
from chatstash.rest.ops import Op


def read_selection(key: str, selection: Selection, options: Options, cache: ReadCache | None) -> Op[Contents]:
    """Read the selected records. Its cost and errors are those of the operation for that selection."""
    match selection:
        case Page(before=before, limit=limit, view=view) if before == END:
            return (yield from read_selection(key, Window(limit, view=view), options, cache))
        case Page() as page:
            return page_in_view((yield from read_before(key, page)), page.view)
        case TokenWindow() as window:
            contents = yield from _cached(key, partial(read_token_window, key, window, options), cache)
            return in_view(contents, window.within.view, keep_system=contents.system_kept)
        case Window() as window:
            contents = yield from _cached(key, partial(read_window, key, window, options), cache)
        case Whole():
            contents = yield from _cached(key, partial(read, key, options), cache)
    return in_view(contents, selection.view, keep_system=selection.keep_system)


def _cached(key: str, reading: Callable[[Snapshot | None], Op[Contents]], cache: ReadCache | None) -> Op[Contents]:
    """Read with the cached snapshot, and cache the new one."""
    if cache is None:
        return (yield from reading(None))
    previous = cache.get(key)
    contents = yield from reading(previous)
    fetched = contents.fetched
    if fetched is None:
        cache.put(key, None, hit=False)
    else:
        cache.put(key, fetched.snapshot(previous), hit=fetched.revalidated)
    return contents
