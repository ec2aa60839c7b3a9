"""The moment by which an operation must end, and a socket reader that holds to it."""

from __future__ import annotations

import io
import socket
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


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket, giving each wait only the time that is left in all.

    A socket's own timeout begins anew with each byte, so a body that drips would never end.
    """

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline
        # makefile counts as a user of the socket, which so stays open until the reply is read.
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object, /) -> int | None:
        self._sock.settimeout(self._deadline.remaining())
        return self._raw.readinto(buffer)  # type: ignore[arg-type]

    def close(self) -> None:
        self._raw.close()
        super().close()


class DeadlineSocket:
    """Stands in for a socket where http.client makes the file it reads a reply from."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return a buffered reader that raises TimeoutError once the deadline has passed."""
        return io.BufferedReader(_DeadlineReader(self._sock, self._deadline))
