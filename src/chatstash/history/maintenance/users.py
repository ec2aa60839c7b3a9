"""Erases and exports everything of a user."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from chatstash.calls import Call, Calls, Streamed
from chatstash.history.exporting import exported
from chatstash.history.maintenance.scanning import Scan, running
from chatstash.history.operations.erase import Deleted, delete_keys
from chatstash.history.operations.scan import Wanted, literal
from chatstash.history.records.index import index_keys
from chatstash.history.records.keys import companions_pattern, owner_of
from chatstash.history.sessions import Sessions
from chatstash.history.values.sessions import Erased, OnProgress, SessionPage
from chatstash.rest.commands import Cost

_SESSIONS_PER_PAGE = 100


def erase_user(store: Sessions, user_id: str, on_progress: OnProgress | None) -> Calls[Erased]:
    """Delete all keys of a user: conversations, what is kept beside them, and the index last.

    It may be interrupted at any time and run again: what is left is found by the names of the keys.
    """
    owner = owner_of(store.key_prefix, user_id)
    scan = Scan(store, [Wanted(literal(owner) + "*"), Wanted(companions_pattern(owner))], on_progress)
    yield from scan.estimate()
    session_ids: dict[str, None] = {}
    deleted, cost = 0, Cost()
    while not scan.is_over:
        keys = list(dict.fromkeys((yield from scan.next_keys())))
        done: Deleted = yield running(store, "delete_user", delete_keys(keys), writes=True)
        deleted, cost = deleted + done.keys, cost + done.cost
        session_ids |= dict.fromkeys(key.removeprefix(owner) for key in keys if key.startswith(owner))
        scan.found = len(session_ids)
        scan.report()
    last: Deleted = yield running(store, "delete_user", delete_keys(index_keys(owner)), writes=True)
    return Erased(list(session_ids), deleted + last.keys, scan.cost + cost + last.cost)


def export_user(store: Sessions, user_id: str) -> Streamed[str]:
    """Yield the lines of all conversations on a user's index, those with the newest messages first.

    A session that moves to the top between two pages is on no later one. So the pages are listed until no session on
    them is new; a single page shows all.
    """
    seen: set[str] = set()
    may_be_more = True
    while may_be_more:
        may_be_more = yield from _export_unseen(store, user_id, seen)


def _export_unseen(store: Sessions, user_id: str, seen: set[str]) -> Generator[Call | str, Any, bool]:
    """Yield the lines of the conversations that are not `seen`; returns whether others may have been missed."""
    seen_before, cursor, pages = len(seen), None, 0
    while pages == 0 or cursor is not None:
        wanted = {"user_id": user_id, "limit": _SESSIONS_PER_PAGE, "cursor": cursor}
        page: SessionPage = yield Call(store, "list_sessions", (), wanted)
        for info in page.sessions:
            if info.session_id not in seen:
                seen.add(info.session_id)
                yield from exported(store.session(info.session_id, user_id=user_id), info)
        cursor, pages = page.next_cursor, pages + 1
    return pages > 1 and len(seen) > seen_before
