"""Names new fields, so that no two processes ever write the same one."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict

from chatstash.rest.fork import register_fork_reset

_NAME_BYTES = 6
"""48 random bits: two of a thousand segments of a thread are the same once in 10^9 threads."""


MAX_RUNS = 4096
"""How many values this process can continue; about 0.5 MB."""


class Segment:
    """Numbered fields that only this object writes. A forked child goes on with new names.

    A list or dict that grows has a segment of its own: its fields follow each other, and one token names them all. All
    other fields share a segment.
    """

    def __init__(self) -> None:
        self.reset_after_fork()
        register_fork_reset(self)

    def reset_after_fork(self) -> None:
        """Take a new name."""
        self._lock = threading.Lock()
        self._name = secrets.token_urlsafe(_NAME_BYTES)
        self._used = 0
        self._runs: OrderedDict[str, int] = OrderedDict()

    def take(self, count: int) -> list[str]:
        """Return the names of `count` new fields, which follow each other."""
        with self._lock:
            first = self._used
            self._used += count
            return [f"{self._name}.{number}" for number in range(first, self._used)]

    def take_after(self, last: str, count: int) -> list[str]:
        """Return the names of `count` new fields, which follow each other.

        They follow the field `last`, if this object made it and nothing followed it yet. Otherwise, they begin a
        segment.
        """
        name, _, number = last.partition(".")
        with self._lock:
            first = self._runs.pop(name, None)
            if first is None or number != str(first - 1):
                name, first = secrets.token_urlsafe(_NAME_BYTES), 0
            self._runs[name] = first + count
            if len(self._runs) > MAX_RUNS:
                self._runs.popitem(last=False)
        return [f"{name}.{number}" for number in range(first, first + count)]
