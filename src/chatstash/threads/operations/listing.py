"""Lists the threads of an index, newest first, and deletes those of a user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from chatstash.errors import ReadOnlyToken
from chatstash.rest.commands import Batch, Effect
from chatstash.rest.ops import Op, send
from chatstash.threads.operations.remove import delete_thread
from chatstash.threads.operations.requests import read_range
from chatstash.threads.threads import Threads

MAX_LIMIT = 1000
THREADS_PER_DELETION = 50


class ThreadInfo(NamedTuple):
    """A thread.

    Attributes:
        thread_id: Its id.
        updated_at: When it was last written, in milliseconds since the epoch, to the minute.
    """

    thread_id: str
    updated_at: int


class ThreadPage(NamedTuple):
    """A page of threads.

    Attributes:
        threads: The threads, the one last written first.
        cursor: Where the next page begins; None after the last page.
    """

    threads: list[ThreadInfo]
    cursor: str | None


def list_threads(threads: Threads, user_id: str | None, limit: int, cursor: str | None) -> Op[ThreadPage]:
    """Return a page of the threads that exist; three requests, four commands, and one for each thread."""
    found: list[ThreadInfo] = []
    while True:
        listed = yield from _listed(threads, user_id, limit + 1 - len(found), cursor)
        found += yield from _existing(threads, user_id, listed.threads)
        cursor = listed.cursor
        if len(found) > limit:
            return ThreadPage(found[:limit], _cursor_after(found[limit - 1]))
        if cursor is None:
            return ThreadPage(found, None)


def delete_user(threads: Threads, user_id: str) -> Op[int]:
    """Delete all threads of a user, and tell how many; for each 50, three requests, and one for each thread."""
    deleted = 0
    while True:
        listed = yield from _listed(threads, user_id, THREADS_PER_DELETION, None)
        if not listed.threads:
            return deleted
        for thread in listed.threads:
            deleted += yield from delete_thread(threads, threads.keys(thread.thread_id))
        yield from _forget(threads, user_id, listed.threads)


def checked_cursor(cursor: str | None) -> str | None:
    """Return a cursor; raises ValueError unless it is one that `list_threads` returned."""
    if cursor is not None:
        score, _, thread_id = str(cursor).partition(":")
        if not isinstance(cursor, str) or not score.isdigit() or not thread_id:
            raise ValueError(f"cursor must be one that list_threads returned, not {cursor!r:.80}")
    return cursor


def checked_limit(limit: int) -> int:
    """Return a limit; raises ValueError unless it is a whole number from 1 to 1,000."""
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_LIMIT:
        raise ValueError(f"limit must be a whole number from 1 to {MAX_LIMIT}, not {limit!r}")
    return limit


def _cursor_after(thread: ThreadInfo) -> str:
    return f"{thread.updated_at}:{thread.thread_id}"


def _listed(threads: Threads, user_id: str | None, limit: int, cursor: str | None) -> Op[ThreadPage]:
    """Return the entries of the index after a cursor, of which some may have expired."""
    end: str | int = "+inf" if cursor is None else int(cursor.partition(":")[0])
    size = limit
    while True:
        entries, is_all = yield from _entries(threads, user_id, end, size)
        rest = [entry for entry in entries if cursor is None or _is_after(entry, cursor)]
        if is_all or len(rest) >= limit:
            page = rest[:limit]
            is_last = is_all and len(rest) <= limit
            return ThreadPage(page, None if is_last or not page else _cursor_after(page[-1]))
        size = limit + len(entries) - len(rest) + MAX_LIMIT


def _entries(threads: Threads, user_id: str | None, end: str | int, size: int) -> Op[tuple[list[ThreadInfo], bool]]:
    entries: set[ThreadInfo] = set()
    is_all = True
    for key in threads.index.keys(user_id):
        flat = yield from read_range(key, end, "-inf", "BYSCORE", "REV", "LIMIT", 0, size, "WITHSCORES")
        found = [ThreadInfo(name, int(float(score))) for name, score in zip(flat[::2], flat[1::2], strict=True)]
        entries.update(found)
        is_all = is_all and len(found) < size
    # Redis orders entries with the same score by name, and REV reverses both.
    return sorted(entries, key=_order, reverse=True), is_all


def _order(entry: ThreadInfo) -> tuple[int, str]:
    return entry.updated_at, entry.thread_id


def _is_after(entry: ThreadInfo, cursor: str) -> bool:
    score, _, thread_id = cursor.partition(":")
    return _order(entry) < (int(score), thread_id)


def _existing(threads: Threads, user_id: str | None, listed: Sequence[ThreadInfo]) -> Op[list[ThreadInfo]]:
    """Return the threads that exist, and remove the others from the index."""
    if not listed:
        return []
    replies = yield from send(Batch(tuple(("EXISTS", threads.keys(entry.thread_id).names) for entry in listed)))
    gone = [entry for entry, exists in zip(listed, replies.values, strict=True) if exists == 0]
    if gone:
        yield from _forget(threads, user_id, gone)
    return [entry for entry in listed if entry not in gone]


def _forget(threads: Threads, user_id: str | None, gone: Sequence[ThreadInfo]) -> Op[None]:
    ids = [entry.thread_id for entry in gone]
    commands = tuple(("ZREM", key, *ids) for key in threads.index.keys(user_id))
    try:
        yield from send(Batch(commands, effect=Effect.IDEMPOTENT))
    except ReadOnlyToken:
        return  # the entries are hidden all the same
