"""The moment by which an operation must end, and the bounds of a connection."""

from __future__ import annotations

import copy
import time

CONNECT_TIMEOUT = 5.0
"""Seconds within which a connection must be made."""

MAX_IDLE = 15.0
"""Seconds of wall-clock time after which an idle connection is not used again.

The wall clock, because a frozen function's monotonic clock may stand still while the server closes the connection.
"""


class Deadline:
    """A moment `seconds` from now on the monotonic clock, and how long a silence may last before that."""

    __slots__ = ("_at", "_longest_silence")

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds
        self._longest_silence = seconds

    def for_attempt(self, *, is_last: bool) -> Deadline:
        """Return the same moment for one attempt; unless it is the last, a silence may last half of the time left."""
        attempt = copy.copy(self)
        left = self._at - time.monotonic()
        attempt._longest_silence = left if is_last else left / 2  # noqa: SLF001 - of its own kind
        return attempt

    def remaining(self) -> float:
        """Return the seconds left; raises TimeoutError where none are."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return left

    def patience(self) -> float:
        """Return how many seconds to wait for the next sign of the server; raises TimeoutError where none are left."""
        return min(self.remaining(), self._longest_silence)

    def allows(self, seconds: float) -> bool:
        """Tell whether a pause of `seconds` would still leave time."""
        return time.monotonic() + seconds < self._at
