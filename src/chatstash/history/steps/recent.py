"""Keys and sessions that this process has recently seen."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import NamedTuple

LATELY = 300.0
"""Seconds for which an observation is trusted."""

_MOST_KEYS = 10_000


class RecentKeys:
    """Keys that were recently seen; the oldest are forgotten first.

    Has no lock, so that a signal handler may use it: each step is one operation of a dict, and between any two of them
    a key is at worst forgotten.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, float] = {}

    def __contains__(self, key: str) -> bool:
        return self._clock() - self._seen.get(key, float("-inf")) < LATELY

    def add(self, key: str) -> None:
        """Note that the key was seen."""
        self._seen.pop(key, None)
        self._seen[key] = self._clock()
        if len(self._seen) > _MOST_KEYS:
            # Other threads may change it at the same time.
            with contextlib.suppress(RuntimeError, StopIteration):
                self._seen.pop(next(iter(self._seen)), None)

    def discard(self, key: str) -> None:
        """Forget the key."""
        self._seen.pop(key, None)


class Recent(NamedTuple):
    """Keys and sessions that this process has recently seen.

    Attributes:
        lists: The keys that held a list or nothing.
        sessions: The sessions that the index lists.
    """

    lists: RecentKeys
    sessions: RecentKeys
