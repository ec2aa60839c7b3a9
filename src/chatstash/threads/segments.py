"""Names new fields, so that no two processes ever write the same one."""

from __future__ import annotations

import secrets
import threading

from chatstash.rest.fork import register_fork_reset

_NAME_BYTES = 6
"""48 random bits: two of a thousand segments of a thread are the same once in 10^9 threads."""


class Segment:
    """Numbered fields that only this object writes. A forked child goes on with a new name."""

    def __init__(self) -> None:
        self.reset_after_fork()
        register_fork_reset(self)

    def reset_after_fork(self) -> None:
        """Take a new name."""
        self._lock = threading.Lock()
        self._name = secrets.token_urlsafe(_NAME_BYTES)
        self._used = 0

    def take(self, count: int) -> list[str]:
        """Return the names of `count` new fields, which follow each other."""
        with self._lock:
            first = self._used
            self._used += count
            return [f"{self._name}.{number}" for number in range(first, self._used)]
