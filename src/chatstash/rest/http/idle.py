"""Idle connections, kept between two exchanges."""

from __future__ import annotations

import time
from collections import deque

from chatstash.rest.deadline import MAX_IDLE
from chatstash.rest.http.connection import Connection, Exchange
from chatstash.rest.http.exchange import FAILURES
from chatstash.rest.http.sockets import Socket
from chatstash.rest.interrupts import is_from_signal_handler


class Link:
    """An HTTP connection and its socket."""

    __slots__ = ("connection", "idle_since", "sock")

    def __init__(self, connection: Connection, sock: Socket) -> None:
        self.connection = connection
        self.sock = sock
        self.idle_since = 0.0

    @property
    def is_fresh(self) -> bool:
        """Whether it was idle for at most `MAX_IDLE` seconds, and the wall clock was not set back meanwhile."""
        return 0 <= time.time() - self.idle_since <= MAX_IDLE

    def close(self) -> None:
        """Close the socket, and drop unsent bytes."""
        self.connection.stop_sending()
        self.sock.close()


class IdleConnections:
    """Idle connections, most recently used first. Takes no lock: each step is one operation of a deque."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._links: deque[Link] = deque()
        self._is_closed = False

    def take(self) -> Link | None:
        """Remove and return a fresh connection, or None."""
        while True:
            try:
                link = self._links.pop()
            except IndexError:
                return None
            if link.is_fresh:
                return link
            link.close()

    def put(self, link: Link) -> None:
        """Keep a connection that can carry another request. The caller must not use it any more."""
        if self._is_closed or len(self._links) >= self._most:
            link.close()
            return
        link.idle_since = time.time()
        self._links.append(link)
        self.close_stale()

    def finish(self, link: Link) -> None:
        """End an exchange: keep its connection if that can carry another, or close it."""
        self.put(link) if link.connection.finish() else link.close()

    def restarts(self, exchange: Exchange, link: Link, error: BaseException) -> bool:
        """Close a connection that failed, and tell whether the exchange starts over on another.

        It does if the connection was a reused one, and failed before the whole request was sent.
        """
        link.close()
        lost = isinstance(error, FAILURES) and not exchange.sent and link.connection.used
        if not lost or is_from_signal_handler(error):
            return False
        exchange.restart()
        return True

    def close(self) -> None:
        """Close all; a connection in use is closed when it is put back."""
        self._is_closed = True
        while (link := self.take()) is not None:
            link.close()

    def close_stale(self) -> None:
        """Close connections that were idle for too long."""
        try:
            while not self._links[0].is_fresh:
                self._links.popleft().close()
        except IndexError:
            pass
