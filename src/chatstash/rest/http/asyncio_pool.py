"""Exchanges for asyncio, with the route of a `Pool` and connections of each event loop."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from chatstash.errors import ConnectionFailed
from chatstash.rest.deadline import CONNECT_TIMEOUT, Deadline
from chatstash.rest.fork import register_fork_reset
from chatstash.rest.http.asyncio_io import LoopState, RequestScope, connect, move
from chatstash.rest.http.connection import Exchange
from chatstash.rest.http.exchange import FAILURES, HttpReply, HttpRequest
from chatstash.rest.http.idle import Link
from chatstash.rest.http.pool import Pool
from chatstash.rest.interrupts import is_from_signal_handler, strip_tracebacks


class AsyncPool:
    """A pool for event loops: any number of loops, one after another or in several threads."""

    def __init__(self, pool: Pool, max_connections: int) -> None:
        self._pool = pool
        self._max_connections = max_connections
        self._inherited: list[object] = []
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, LoopState] = WeakKeyDictionary()
        register_fork_reset(self)

    async def exchange(self, request: HttpRequest, deadline: Deadline) -> HttpReply:
        """Do as `Pool.exchange` does, without blocking the event loop."""
        state = self._state()
        exchange = Exchange(request)
        must_wait = state.slots.all_taken
        scope = RequestScope(state, deadline, must_wait=must_wait)
        try:
            async with scope, state.slots:
                if must_wait:
                    scope.extend()
                return await self._exchange(exchange, scope, state, deadline)
        except FAILURES as error:
            if is_from_signal_handler(error):
                strip_tracebacks(error)
                raise
            failure, cause = self._pool.failed(error, exchange)
            if scope.aborted:
                problem = "The store was closed while the request was in flight"
                failure = ConnectionFailed(problem, applied=failure.applied)
        except BaseException as error:
            strip_tracebacks(error)
            raise
        finally:
            exchange.reader.close()
        # Raised outside of the handler, so that the failure does not become its context.
        raise failure from cause

    async def aclose(self) -> None:
        """Close the running loop's connections, and abort its requests in flight."""
        state = self._loops.pop(asyncio.get_running_loop(), None)
        if state is not None:
            state.idle.close()
            for scope in list(state.scopes):
                scope.abort()

    def reset_after_fork(self) -> None:
        """Start with no connections in a child process."""
        self._inherited.append(self._loops)
        self._loops = WeakKeyDictionary()

    def _state(self) -> LoopState:
        loop = asyncio.get_running_loop()
        state = self._loops.get(loop)
        if state is None:
            self._tidy()
            state = self._loops[loop] = LoopState(self._max_connections)
        return state

    def _tidy(self) -> None:
        """Close stale connections of other loops: a loop may be closed without notice, or never run again."""
        # keyrefs is one step; other threads may add loops at the same time.
        for loop in [found() for found in self._loops.keyrefs()]:
            state = self._loops.get(loop) if loop is not None else None
            if loop is None or state is None:
                continue
            state.idle.close_stale()
            if loop.is_closed():
                state.idle.close()
                self._loops.pop(loop, None)

    async def _exchange(
        self, exchange: Exchange, scope: RequestScope, state: LoopState, deadline: Deadline
    ) -> HttpReply:
        while not exchange.is_done():
            link = state.idle.take() or await self._open(scope, state, deadline)
            try:
                link.connection.begin(exchange)
                await move(link.connection, link.sock, scope, exchange.is_done)
                state.idle.finish(link)
            except BaseException as error:
                if not state.idle.restarts(exchange, link, error):
                    raise
        return exchange.reader.reply

    async def _open(self, scope: RequestScope, state: LoopState, deadline: Deadline) -> Link:
        pool = self._pool
        route = pool.ready_route()
        async with asyncio.timeout(min(CONNECT_TIMEOUT, deadline.silence_limit())):
            try:
                found = pool.cached_addresses() or await state.resolve(route.host, route.port, pool.addresses)
                link = pool.new_link(await connect(found))
            except OSError:
                pool.addresses.clear()
                raise
            try:
                await move(link.connection, link.sock, scope, link.connection.is_open)
            except BaseException:
                link.close()
                raise
            return link
