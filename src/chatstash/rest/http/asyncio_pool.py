"""Exchanges for asyncio, with the connections of a `Pool`."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from chatstash.rest.deadline import CONNECT_TIMEOUT, Deadline
from chatstash.rest.fork import register_fork_reset
from chatstash.rest.http.asyncio_io import Flight, LoopState, connect, move
from chatstash.rest.http.connection import Exchange
from chatstash.rest.http.failures import closed_meanwhile
from chatstash.rest.http.idle import Link
from chatstash.rest.http.messages import HttpReply, HttpRequest
from chatstash.rest.http.pool import FAILURES, Pool
from chatstash.rest.interruptions import drop_frames, is_a_handlers


class AsyncPool:
    """A pool as event loops use it: any number of loops, one after another or in several threads.

    Args:
        pool: The connections.
        max_connections: How many requests a loop may have under way at the same time; those beyond that wait.
    """

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
        flight = Flight(state, deadline, waits=state.turns.all_taken)
        try:
            async with flight:
                return await self._in_turn(exchange, flight, state, deadline)
        except FAILURES as error:
            if is_a_handlers(error):
                drop_frames(error)
                raise
            failure, cause = self._pool.failed(error, exchange)
            if flight.closed:
                failure = closed_meanwhile(sent=exchange.sent)
        except BaseException as error:
            drop_frames(error)
            raise
        finally:
            exchange.reader.close()
        # Not raised where the cause is handled, for it would come along as the context.
        raise failure from cause

    async def aclose(self) -> None:
        """Close the running loop's connections, and end the requests that are under way on them."""
        state = self._loops.pop(asyncio.get_running_loop(), None)
        if state is not None:
            state.idle.close()
            for flight in list(state.flights):
                flight.end()

    def reset_after_fork(self) -> None:
        """Begin anew in a child process."""
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
        """Close what other loops have left: a loop may be closed without a word, or never be used again."""
        # keyrefs is one step; other threads may add their loops meanwhile.
        for loop in [found() for found in self._loops.keyrefs()]:
            state = self._loops.get(loop) if loop is not None else None
            if loop is None or state is None:
                continue
            state.idle.close_stale()
            if loop.is_closed():
                state.idle.close()
                self._loops.pop(loop, None)

    async def _in_turn(self, exchange: Exchange, flight: Flight, state: LoopState, deadline: Deadline) -> HttpReply:
        if state.turns.all_taken:
            await state.turns.take()
            flight.goes_on()
        else:
            await state.turns.take()
        try:
            return await self._exchange(exchange, flight, state, deadline)
        finally:
            state.turns.give_back()

    async def _exchange(self, exchange: Exchange, flight: Flight, state: LoopState, deadline: Deadline) -> HttpReply:
        while True:
            link = state.idle.take() or await self._open(flight, state, deadline)
            try:
                link.connection.begin(exchange)
                await move(link.connection, link.sock, flight, exchange.is_done)
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
                state.idle.give_back(link) if is_reusable else link.close()
                return exchange.reader.reply

    async def _open(self, flight: Flight, state: LoopState, deadline: Deadline) -> Link:
        pool = self._pool
        route = pool.ready_route()
        async with asyncio.timeout(min(CONNECT_TIMEOUT, deadline.patience())):
            try:
                found = pool.known_addresses() or await state.addresses(route.host, route.port, pool.addresses)
                link = pool.new_link(await connect(found))
            except OSError:
                pool.addresses.forget()
                raise
            try:
                await move(link.connection, link.sock, flight, link.connection.is_open)
            except BaseException:
                link.close()
                raise
            return link
