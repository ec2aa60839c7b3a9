"""The deadline of an operation, and the time limits of a connection."""

from __future__ import annotations

import time

CONNECT_TIMEOUT = 5.0
"""Seconds to make a connection, including TLS and a proxy's tunnel."""

MAX_IDLE = 15.0
"""Seconds of wall-clock time after which an idle connection is not reused.

Wall-clock time, because the monotonic clock of a frozen function may stand still while the server closes the
connection.
"""

RETRY_SHARE = 0.8
"""The share of an operation's time in which a retry may start; the rest is for the last attempt."""


class Deadline:
    """The end of an operation, `seconds` from now on the monotonic clock, and how long a server may stay silent."""

    __slots__ = ("_at", "_last_retry", "_longest_silence")

    def __init__(self, seconds: float) -> None:
        now = time.monotonic()
        self._at = now + seconds
        self._last_retry = now + seconds * RETRY_SHARE
        self._longest_silence = seconds

    def start_attempt(self, *, is_last: bool) -> None:
        """Set how many seconds of silence end this attempt.

        Half of the time left, which leaves time for another attempt; all of it if no other attempt can follow.
        """
        now = time.monotonic()
        left = self._at - now
        self._longest_silence = left if is_last or now + left / 2 > self._last_retry else left / 2

    def remaining(self) -> float:
        """Return the seconds left; raises TimeoutError if the deadline has passed."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return left

    def silence_limit(self) -> float:
        """Return how many seconds to wait for the server; raises TimeoutError if the deadline has passed."""
        return min(self.remaining(), self._longest_silence)

    @property
    def has_passed(self) -> bool:
        """Whether no time is left."""
        return time.monotonic() >= self._at

    def allows_retry(self, pause: float) -> bool:
        """Tell whether a retry after a pause of `pause` seconds starts in time."""
        return time.monotonic() + pause < self._last_retry
