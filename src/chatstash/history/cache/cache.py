"""Snapshots of conversations in the memory of this process, up to a number of bytes; the least recently used go first.

Kept as stored bytes: their size is known to the byte, and every reader gets objects of its own.

A signal's handler or an exception from another thread may come between any two steps here, and the handler may read
conversations itself. So there is one state, a dict, each step is one operation of it, and how many bytes it holds is
summed up anew each time: nothing can be half done, and nothing can drift.
"""

from __future__ import annotations

import threading
from operator import itemgetter
from typing import NamedTuple

from chatstash.history.cache.snapshot import Known
from chatstash.history.options import check_whole
from chatstash.rest.fork import register_fork_reset

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
        self.reset_after_fork()
        register_fork_reset(self)

    def __reduce__(self) -> tuple[type[ReadCache], tuple[int]]:
        return ReadCache, (self.limit,)

    def reset_after_fork(self) -> None:
        """Begin anew in a child process: another thread of the parent may have held the lock."""
        # Re-entrant, for a signal's handler may read a conversation, too.
        self._lock = threading.RLock()
        self._held: dict[str, _Held] = {}  # least recently used first
        self._hits = self._misses = 0

    def find(self, key: str) -> Known | None:
        """Return what is known of a conversation, or None; it is now the one most recently used."""
        with self._lock:
            held = self._held.pop(key, None)
            if held is None:
                return None
            self._held[key] = held
            return held.known

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
            self._held.pop(key, None)
            if known is not None and (size := _size(key, known)) <= self.limit:
                self._held[key] = _Held(known, size)
            while (over := self._size() - self.limit) > 0:
                self._forget_oldest(over)

    def note_append(self, key: str, count: int) -> None:
        """Take note of an append of so many records: the next read asks for as many more."""
        with self._lock:
            if (held := self._held.get(key)) is not None:
                self._held[key] = held._replace(known=held.known.after_append(count))

    def clear(self) -> None:
        """Forget all conversations."""
        with self._lock:
            self._held.clear()

    def stats(self) -> CacheStats:
        """Return what it holds and what it was good for."""
        with self._lock:
            return CacheStats(len(self._held), self._size(), self._hits, self._misses)

    def _forget_oldest(self, size: int) -> None:
        """Forget conversations that take so many bytes, or a few more."""
        for key in list(self._held):
            if size <= 0:
                break
            if (held := self._held.pop(key, None)) is not None:
                size -= held.size

    def _size(self) -> int:
        return sum(map(_size_of, self._held.values()))


class _Held(NamedTuple):
    """What is known of a conversation, and how many bytes that takes."""

    known: Known
    size: int


_size_of = itemgetter(1)


def _size(key: str, known: Known) -> int:
    records = known.stored
    return sum(map(len, records)) + _BESIDES_RECORD * len(records) + len(key) + _BESIDES_CONVERSATION
