"""What is known of conversations, kept in the memory of this process up to so many bytes: least recently used go first.

Kept as stored bytes: their size is known to the byte, and every reader gets objects of its own.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import NamedTuple

from chatstash.history.known import Known
from chatstash.history.options import check_whole
from chatstash.rest.fork import begins_anew_after_fork

MOST_CACHE_BYTES = 2**50

_BESIDES_RECORD = 41
"""What a record takes besides its bytes: the object's head, 33 bytes, and its place in a list, 8."""

_BESIDES_CONVERSATION = 500


class CacheStats(NamedTuple):
    """What a store's cache holds and what it was good for, in this process.

    Attributes:
        conversations: How many conversations it holds.
        bytes: What they take, in bytes of memory.
        hits: How many reads needed only what was new.
        misses: How many reads had to fetch all they gave.
    """

    conversations: int = 0
    bytes: int = 0
    hits: int = 0
    misses: int = 0


class ReadCache:
    """What is known of conversations. Safe to share between threads and event loops; empty in a forked child.

    A copy, pickled or not, is an empty one of the same size.

    Args:
        limit: How many bytes of memory it may take.

    Raises:
        ValueError: The limit is no whole number from 1 on.
    """

    def __init__(self, limit: int) -> None:
        self.limit = check_whole("cache_bytes", limit, 1, MOST_CACHE_BYTES)
        self.forget_parent()
        begins_anew_after_fork(self)

    def __reduce__(self) -> tuple[type[ReadCache], tuple[int]]:
        return ReadCache, (self.limit,)

    def forget_parent(self) -> None:
        """Begin anew in a child process: another thread of the parent may have held the lock."""
        # Re-entrant, for a signal's handler may read a conversation, too.
        self._lock = threading.RLock()
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._bytes = self._hits = self._misses = 0

    def find(self, key: str) -> Known | None:
        """Return what is known of a conversation, or None; it is now the one most recently used."""
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
            return self._known.get(key)

    def keep(self, key: str, known: Known | None, *, hit: bool) -> None:
        """Keep what is known of a conversation from now on; None to forget it.

        Args:
            key: Its key.
            known: What is known of it.
            hit: Whether it was known before, and only what is new was fetched.
        """
        with self._lock:
            self._hits += hit
            self._misses += not hit
            self._forget(key)
            if known is not None and (size := _size(key, known)) <= self.limit:
                self._known[key], self._sizes[key] = known, size
                self._bytes += size
            while self._known and self._bytes > self.limit:
                self._forget(next(iter(self._known)))

    def note_append(self, key: str, count: int) -> None:
        """Take note of an append of so many records: the next read asks for as many more."""
        with self._lock:
            if key in self._known:
                self._known[key] = self._known[key].after_append(count)

    def clear(self) -> None:
        """Forget all conversations."""
        with self._lock:
            for key in list(self._known):
                self._forget(key)

    def stats(self) -> CacheStats:
        """Return what it holds and what it was good for."""
        with self._lock:
            return CacheStats(len(self._known), self._bytes, self._hits, self._misses)

    def _forget(self, key: str) -> None:
        self._known.pop(key, None)
        self._bytes -= self._sizes.pop(key, 0)


def _size(key: str, known: Known) -> int:
    records = known.stored
    return sum(map(len, records)) + _BESIDES_RECORD * len(records) + len(key) + _BESIDES_CONVERSATION
