"""Connections between two exchanges."""

from __future__ import annotations

import socket
import time
from collections import deque

from chatstash.rest.deadline import MAX_IDLE
from chatstash.rest.http.connection import Connection


class Link:
    """A connection and its socket."""

    __slots__ = ("_idle_since", "connection", "sock")

    def __init__(self, connection: Connection, sock: socket.socket) -> None:
        self.connection = connection
        self.sock = sock
        self._idle_since = 0.0

    def rest(self) -> None:
        """Note that it is idle from now on."""
        self._idle_since = time.time()

    @property
    def is_fresh(self) -> bool:
        """Whether it was not idle for long; by the wall clock, which must not have been set back either."""
        return 0 <= time.time() - self._idle_since <= MAX_IDLE

    def close(self) -> None:
        """Close the socket, and drop what was still to be sent."""
        self.connection.stop_sending()
        self.sock.close()


class Idle:
    """Idle connections; the one used last is the first to be used again. Takes no lock: each step is one of a deque.

    Args:
        most: How many are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._links: deque[Link] = deque()
        self._is_closed = False

    def take(self) -> Link | None:
        """Take a connection that was used just now."""
        while True:
            try:
                link = self._links.pop()
            except IndexError:
                return None
            if link.is_fresh:
                return link
            link.close()

    def give_back(self, link: Link) -> None:
        """Take back a connection that may carry another request; from then on it is no longer the caller's."""
        if self._is_closed or len(self._links) >= self._most:
            link.close()
            return
        link.rest()
        self._links.append(link)
        self.close_stale()

    def close(self) -> None:
        """Close all; what is in use is closed as it comes back."""
        self._is_closed = True
        while (link := self.take()) is not None:
            link.close()

    def close_stale(self) -> None:
        """Close those that were idle for too long."""
        try:
            while not self._links[0].is_fresh:
                self._links.popleft().close()
        except IndexError:
            pass
