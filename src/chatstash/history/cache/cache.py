"""Snapshots of conversations in the memory of this process, up to a number of bytes; the least recently used go first.

Snapshots hold stored bytes: their size is exact, and every reader gets objects of its own.

A signal handler, or an exception from another thread, may interrupt any step here, and a handler may read conversations
itself. So all snapshots are in one dict, and each step is one operation on it: no step can be half done. The number of
bytes is an upper bound, raised before a snapshot is added and lowered after one was removed. An interruption makes it
too high at most, until it is counted again: once in as many additions as there are snapshots.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from operator import attrgetter
from typing import NamedTuple

from chatstash.history.cache.snapshot import Snapshot
from chatstash.history.values.options import checked_whole
from chatstash.rest.fork import register_fork_reset

MOST_CACHE_BYTES = 2**50

_RECORD_OVERHEAD = 41
"""Bytes of memory that a record takes besides its content: the object's head, 33 bytes, and its place in a list, 8."""

_CONVERSATION_OVERHEAD = 500


class CacheStats(NamedTuple):
    """The contents and hits of a store's cache in this process.

    Attributes:
        conversations: The number of cached conversations.
        bytes: The memory they take, in bytes.
        hits: The number of reads that fetched only new records.
        misses: The number of reads that fetched all records they returned.
    """

    conversations: int = 0
    bytes: int = 0
    hits: int = 0
    misses: int = 0


class ReadCache:
    """A cache of snapshots. Safe to share between threads and event loops; empty in a forked child.

    A copy, pickled or not, is an empty cache of the same size.
    """

    def __init__(self, limit: int) -> None:
        self.limit = checked_whole("cache_bytes", limit, 1, MOST_CACHE_BYTES)
        self.reset_after_fork()
        register_fork_reset(self)

    def __reduce__(self) -> tuple[type[ReadCache], tuple[int]]:
        return ReadCache, (self.limit,)

    def reset_after_fork(self) -> None:
        """Start empty in a child process: another thread of the parent may have held the lock."""
        # Re-entrant: a signal handler may read a conversation too.
        self._lock = threading.RLock()
        self._cached: OrderedDict[str, _Cached] = OrderedDict()  # least recently used first
        self._hits = self._misses = 0
        self._most_bytes = self._added = 0

    def get(self, key: str) -> Snapshot | None:
        """Return the snapshot of a conversation, or None; it becomes the most recently used."""
        with self._lock:
            cached = self._cached.pop(key, None)
            if cached is None:
                return None
            self._cached[key] = cached
            return cached.snapshot

    def put(self, key: str, snapshot: Snapshot | None, *, hit: bool) -> None:
        """Cache a snapshot in place of the one before."""
        with self._lock:
            self._hits += hit
            self._misses += not hit
            self._remove(key)
            if snapshot is not None and (size := _size(key, snapshot)) <= self.limit:
                self._add(key, _Cached(snapshot, size))

    def note_append(self, key: str, count: int) -> None:
        """Note that this process appended `count` records: the next read asks for as many more."""
        with self._lock:
            if (cached := self._cached.get(key)) is not None:
                self._cached[key] = cached._replace(snapshot=cached.snapshot.after_append(count))

    def clear(self) -> None:
        """Forget all conversations."""
        with self._lock:
            self._cached.clear()
            self._most_bytes = 0

    def stats(self) -> CacheStats:
        """Return the contents and hits."""
        with self._lock:
            return CacheStats(len(self._cached), self._size(), self._hits, self._misses)

    def _add(self, key: str, cached: _Cached) -> None:
        self._most_bytes += cached.size
        self._cached[key] = cached
        self._added += 1
        if self._added > len(self._cached):
            self._most_bytes, self._added = self._size(), 0
        while self._most_bytes > self.limit:
            self._remove_oldest()

    def _remove_oldest(self) -> None:
        try:
            _, oldest = self._cached.popitem(last=False)
        except KeyError:  # nothing is left: the bound was too high
            self._most_bytes = 0
        else:
            self._most_bytes -= oldest.size

    def _remove(self, key: str) -> None:
        if (cached := self._cached.pop(key, None)) is not None:
            self._most_bytes -= cached.size

    def _size(self) -> int:
        return sum(map(attrgetter("size"), self._cached.values()))


class _Cached(NamedTuple):
    """A snapshot, and how many bytes of memory it takes."""

    snapshot: Snapshot
    size: int


def _size(key: str, snapshot: Snapshot) -> int:
    records = snapshot.stored
    return sum(map(len, records)) + _RECORD_OVERHEAD * len(records) + len(key) + _CONVERSATION_OVERHEAD
