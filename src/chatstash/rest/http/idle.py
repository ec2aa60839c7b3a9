"""Idle connections, kept between two exchanges."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from chatstash.rest.deadline import MAX_IDLE
from chatstash.rest.http.connection import Connection, Exchange
from chatstash.rest.http.exchange import FAILURES
from chatstash.rest.interrupts import is_from_signal_handler


class Link:
    """An HTTP connection and its socket."""

    __slots__ = ("connection", "idle_since", "sock")

    def __init__(self, connection: Connection, sock: socket.socket) -> None:
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

    @contextmanager
    def carrying(self, exchange: Exchange, link: Link) -> Iterator[None]:
        """Begin an exchange on a connection, whose bytes the caller moves; then keep the connection, or close it.

        If a reused connection fails before the whole request was sent, the failure is dropped and the exchange starts
        over: the caller tries another connection.
        """
        try:
            link.connection.begin(exchange)
            yield
            is_reusable = link.connection.finish()
        except FAILURES as error:
            link.close()
            if exchange.sent or not link.connection.used or is_from_signal_handler(error):
                raise
            exchange.restart()
        except BaseException:
            link.close()
            raise
        else:
            self.put(link) if is_reusable else link.close()

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
