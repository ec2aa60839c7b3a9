"""The connections of one database in this process, and exchanges for blocking callers.

A connection serves one exchange at a time. It is taken from the idle ones, and put back only after a complete reply. No
lock is taken, so a signal handler may use the pool while the program does.
"""

from __future__ import annotations

from functools import cached_property, lru_cache

from chatstash.errors import DatabaseError
from chatstash.rest.deadline import CONNECT_TIMEOUT, Deadline
from chatstash.rest.endpoint import Endpoint
from chatstash.rest.fork import register_fork_reset
from chatstash.rest.http.blocking import connect, move, resolve
from chatstash.rest.http.connection import Connection, Exchange
from chatstash.rest.http.environment import proxy_for, tls_context
from chatstash.rest.http.error_mapping import error_for, showable_cause
from chatstash.rest.http.exchange import FAILURES, HttpReply, HttpRequest
from chatstash.rest.http.idle import IdleConnections, Link
from chatstash.rest.http.route import Route
from chatstash.rest.http.sockets import Address, AddressCache, Socket, ip_literal
from chatstash.rest.interrupts import is_from_signal_handler, strip_tracebacks


class Pool:
    """The route to one database, and the connections of blocking callers. Safe to share between threads."""

    def __init__(self, endpoint: Endpoint, max_idle: int) -> None:
        self._endpoint = endpoint
        self._max_idle = max_idle
        self._tls = lru_cache(maxsize=1)(tls_context)
        self.addresses = AddressCache()
        self._idle = IdleConnections(max_idle)
        # Connections of a parent process, kept so that they are never closed or finalised here.
        self._inherited: list[object] = []
        register_fork_reset(self)
        if endpoint.scheme == "https":
            # Imported here: a signal handler that interrupts an import would find half a module.
            import chatstash.rest.http.tls  # noqa: F401, PLC0415

    def exchange(self, request: HttpRequest, deadline: Deadline) -> HttpReply:
        """Send one request and return the complete reply, before the deadline."""
        exchange = Exchange(request)
        try:
            return self._exchange(exchange, deadline)
        except FAILURES as error:
            if is_from_signal_handler(error):
                strip_tracebacks(error)
                raise
            failure, cause = self.failed(error, exchange)
        except BaseException as error:
            strip_tracebacks(error)
            raise
        finally:
            exchange.reader.close()
        # Raised outside of the handler, so that the failure does not become its context.
        raise failure from cause

    def close(self) -> None:
        """Close the idle connections. A later exchange opens new ones."""
        idle, self._idle = self._idle, IdleConnections(self._max_idle)
        idle.close()

    def reset_after_fork(self) -> None:
        """Start with no connections in a child process."""
        self._inherited.append(self._idle)
        self._idle = IdleConnections(self._max_idle)

    def new_link(self, sock: Socket) -> Link:
        """Wrap a connected socket; TLS and the tunnel are not set up yet."""
        return Link(Connection(self.route, self._tls), sock)

    def cached_addresses(self) -> list[Address]:
        """Return the addresses to connect to; empty if the host must be resolved."""
        return ip_literal(self.route.host, self.route.port) or self.addresses.get()

    @cached_property
    def route(self) -> Route:
        """The route to the database; raises ValueError if the environment names an unusable proxy."""
        return Route(self._endpoint, proxy_for(self._endpoint))

    def ready_route(self) -> Route:
        """Return the route once its TLS context is made; raises ValueError if certificates or proxy are unusable."""
        if self.route.proxy_host or self.route.tls_host:
            self._tls()
        return self.route

    def failed(self, error: Exception, exchange: Exchange) -> tuple[DatabaseError, BaseException | None]:
        """Return the error to raise for a failure, and its cause if that may be shown."""
        failure = error_for(error, self.route.target + self.route.via, sent=exchange.sent)
        return failure, showable_cause(error, self._endpoint.token)

    def _exchange(self, exchange: Exchange, deadline: Deadline) -> HttpReply:
        idle = self._idle
        while not exchange.is_done():
            link = idle.take() or self._open(deadline)
            try:
                link.connection.begin(exchange)
                move(link.connection, link.sock, deadline, exchange.is_done)
                idle.finish(link)
            except BaseException as error:
                if not idle.restarts(exchange, link, error):
                    raise
        return exchange.reader.reply

    def _open(self, deadline: Deadline) -> Link:
        route = self.ready_route()
        limit = Deadline(min(CONNECT_TIMEOUT, deadline.silence_limit()))
        try:
            found = self.cached_addresses() or self.addresses.put(resolve(route.host, route.port))
            link = self.new_link(connect(found, limit))
        except OSError:
            self.addresses.clear()
            raise
        try:
            move(link.connection, link.sock, limit, link.connection.is_open)
        except BaseException:
            link.close()
            raise
        return link
