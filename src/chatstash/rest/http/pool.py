"""The connections of one database in this process, and exchanges for blocking callers.

A connection serves one exchange at a time: it is taken out of the idle ones, and comes back only where its reply was
whole. No lock is taken, so a signal handler may use a pool in whose midst it interrupted the program.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatstash.errors import DatabaseError
from chatstash.rest.deadline import CONNECT_TIMEOUT, Deadline
from chatstash.rest.endpoint import Endpoint
from chatstash.rest.fork import register_fork_reset
from chatstash.rest.http.blocking import connect, look_up, move
from chatstash.rest.http.connection import Connection, Exchange
from chatstash.rest.http.failures import bare, failure_of
from chatstash.rest.http.faults import HttpFault
from chatstash.rest.http.idle import Idle, Link
from chatstash.rest.http.messages import HttpReply, HttpRequest
from chatstash.rest.http.network import TlsContext, proxy_for
from chatstash.rest.http.route import Route
from chatstash.rest.http.sockets import Address, Addresses, literal
from chatstash.rest.interruptions import drop_frames, is_a_handlers

if TYPE_CHECKING:
    import socket

FAILURES = (HttpFault, OSError, UnicodeError)
"""What an exchange may fail with; UnicodeError is of host names that nobody could look up."""


class Pool:
    """The way to one database, and the connections of blocking callers. Safe to share between threads.

    Args:
        endpoint: The database.
        max_idle: How many idle connections are kept.
    """

    def __init__(self, endpoint: Endpoint, max_idle: int) -> None:
        self._endpoint = endpoint
        self._max_idle = max_idle
        self._route: Route | None = None
        self._tls = TlsContext()
        self.addresses = Addresses()
        self._idle = Idle(max_idle)
        # Connections of a parent process, kept so that they are never closed or finalised here.
        self._inherited: list[object] = []
        register_fork_reset(self)
        if endpoint.scheme == "https":
            # Now, for a signal handler that interrupts an import would find half a module.
            import chatstash.rest.http.tls  # noqa: F401, PLC0415

    def exchange(self, request: HttpRequest, deadline: Deadline) -> HttpReply:
        """Send one request and return the whole reply, by the deadline.

        Raises:
            ConnectionFailed: No connection, or it broke.
            RequestTimeout: No whole reply in time.
            ProtocolError: The reply was refused for its size or its compression.
        """
        exchange = Exchange(request)
        try:
            return self._exchange(exchange, deadline)
        except FAILURES as error:
            if is_a_handlers(error):
                drop_frames(error)
                raise
            failure, cause = self.failed(error, exchange)
        except BaseException as error:
            drop_frames(error)
            raise
        finally:
            exchange.reader.close()
        # Not raised where the cause is handled, for it would come along as the context.
        raise failure from cause

    def close(self) -> None:
        """Close the idle connections; the pool opens new ones when it is used again."""
        idle, self._idle = self._idle, Idle(self._max_idle)
        idle.close()

    def reset_after_fork(self) -> None:
        """Begin with fresh connections in a child process."""
        self._inherited.append(self._idle)
        self._idle = Idle(self._max_idle)

    def new_link(self, sock: socket.socket) -> Link:
        """Return a socket that is connected with the state of a connection that is not open yet."""
        return Link(Connection(self.route, self._tls), sock)

    def known_addresses(self) -> list[Address]:
        """Return where to connect to, where that takes no look-up."""
        return literal(self.route.host, self.route.port) or self.addresses.known()

    @property
    def route(self) -> Route:
        """The way to the database; raises ValueError where the environment names a proxy that cannot be used."""
        if self._route is None:
            self._route = Route(self._endpoint, proxy_for(self._endpoint))
        return self._route

    def ready_route(self) -> Route:
        """Return the way to the database once all that it needs is there; a ValueError as of `route`."""
        if self.route.uses_tls:
            self._tls()
        return self.route

    def failed(self, error: Exception, exchange: Exchange) -> tuple[DatabaseError, BaseException | None]:
        """Return the error of this package for a failure, and what it came from as far as that may be shown."""
        failure = failure_of(error, self.route.target + self.route.via, sent=exchange.sent)
        return failure, bare(error, self._endpoint.token)

    def _exchange(self, exchange: Exchange, deadline: Deadline) -> HttpReply:
        while True:
            idle = self._idle
            link = idle.take() or self._open(deadline)
            try:
                link.connection.begin(exchange)
                move(link.connection, link.sock, deadline, exchange.is_done)
                is_reusable = link.connection.finish()
            except FAILURES as error:
                link.close()
                if exchange.sent or not link.connection.used or is_a_handlers(error):
                    raise
                # The server had closed it meanwhile, or said something: nothing went out whole.
                exchange.begin_anew()
            except BaseException:
                link.close()
                raise
            else:
                idle.give_back(link) if is_reusable else link.close()
                return exchange.reader.reply

    def _open(self, deadline: Deadline) -> Link:
        route = self.ready_route()
        within = deadline.within(min(CONNECT_TIMEOUT, deadline.patience()))
        try:
            found = self.known_addresses() or self.addresses.keep(look_up(route.host, route.port))
            link = self.new_link(connect(found, within))
        except OSError:
            self.addresses.forget()
            raise
        try:
            move(link.connection, link.sock, within, link.connection.is_open)
        except BaseException:
            link.close()
            raise
        return link
