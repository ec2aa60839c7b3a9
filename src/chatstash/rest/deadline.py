"""The moment by which an operation must end, and the bounds of a connection."""

from __future__ import annotations

import time

CONNECT_TIMEOUT = 5.0
"""Seconds within which a connection must be made."""

MAX_IDLE = 15.0
"""Seconds of wall-clock time after which an idle connection is not used again.

The wall clock, because a frozen function's monotonic clock may stand still while the server closes the connection.
"""


class Deadline:
    """A moment `seconds` from now on the monotonic clock."""

    __slots__ = ("_at",)

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def remaining(self) -> float:
        """Return the seconds left; raises TimeoutError where none are."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return left

    def allows(self, seconds: float) -> bool:
        """Tell whether a pause of `seconds` would still leave time."""
        return time.monotonic() + seconds < self._at
