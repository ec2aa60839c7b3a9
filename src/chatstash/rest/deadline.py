"""The moment by which an operation must end, and the bounds of a connection."""

from __future__ import annotations

import time

CONNECT_TIMEOUT = 5.0
"""Seconds within which a connection must be made, TLS and a proxy's tunnel included."""

MAX_IDLE = 15.0
"""Seconds of wall-clock time after which an idle connection is not used again.

The wall clock, because a frozen function's monotonic clock may stand still while the server closes the connection.
"""

RETRY_SHARE = 0.8
"""The part of an operation's time within which a retry may begin; the rest is for the last attempt."""


class Deadline:
    """A moment `seconds` from now on the monotonic clock, and how long a silence may last before that."""

    __slots__ = ("_at", "_last_retry", "_longest_silence")

    def __init__(self, seconds: float) -> None:
        now = time.monotonic()
        self._at = now + seconds
        self._last_retry = now + seconds * RETRY_SHARE
        self._longest_silence = seconds

    def begin_attempt(self, *, is_last: bool) -> None:
        """Set how long a silence may last from here on.

        An attempt that hears nothing for half of the time left is given up, so that there is time for another; one that
        no other can follow may use all of it.
        """
        now = time.monotonic()
        left = self._at - now
        self._longest_silence = left if is_last or now + left / 2 > self._last_retry else left / 2

    def within(self, seconds: float) -> Deadline:
        """Return a deadline at most `seconds` from now, and no later than this one."""
        return Deadline(min(seconds, self.remaining()))

    def remaining(self) -> float:
        """Return the seconds left; raises TimeoutError where none are."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return left

    def patience(self) -> float:
        """Return how many seconds to wait for the next sign of the server; raises TimeoutError where none are left."""
        return min(self.remaining(), self._longest_silence)

    @property
    def has_passed(self) -> bool:
        """Whether no time is left."""
        return time.monotonic() >= self._at

    def allows_retry(self, pause: float) -> bool:
        """Tell whether a retry after a pause of so many seconds would begin in time."""
        return time.monotonic() + pause < self._last_retry
