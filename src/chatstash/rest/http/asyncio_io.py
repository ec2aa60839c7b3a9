"""Moves the bytes of a connection for asyncio. Opens sockets.

The loop's own `sock_` methods register a socket for one wait at a time, and no transport keeps it: so a socket holds no
loop, and a loop that goes away, closed or not, takes its connections along.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from chatstash.rest.deadline import Deadline
from chatstash.rest.http.blocking import look_up, wait
from chatstash.rest.http.connection import Connection
from chatstash.rest.http.idle import Idle
from chatstash.rest.http.sockets import RECEIVED_AT_ONCE, STAGGER, Address, Addresses, in_turn, new_socket
from chatstash.rest.interruptions import is_a_handlers


class Turns:
    """Lets at most `most` requests of one event loop be under way, first come first served.

    It holds the loop, and who waits, by weak references only.
    """

    def __init__(self, most: int) -> None:
        self._free = most
        self._waiting: deque[weakref.ref[asyncio.Future[None]]] = deque()

    @property
    def all_taken(self) -> bool:
        """Whether the next one has to wait."""
        return self._free <= 0

    async def take(self) -> None:
        """Wait for a turn."""
        if not self.all_taken:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(weakref.ref(turn))
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.give_back()
            raise

    def give_back(self) -> None:
        """Let the next one have the turn."""
        while self._waiting:
            turn = self._waiting.popleft()()
            if turn is not None and not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class Flight:
    """One request under way in a loop: ended by its deadline, or when the pool is closed."""

    def __init__(self, state: LoopState, deadline: Deadline, *, waits: bool) -> None:
        self._state = state
        self._deadline = deadline
        self._scope = asyncio.timeout(deadline.remaining() if waits else deadline.patience())
        self.closed = False
        """Whether the pool was closed meanwhile."""

    async def __aenter__(self) -> Self:
        await self._scope.__aenter__()
        self._state.flights.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._state.flights.discard(self)
        await self._scope.__aexit__(kind, error, traceback)

    def goes_on(self) -> None:
        """Count the silence that is allowed anew."""
        with suppress(RuntimeError):  # it is being ended
            self._scope.reschedule(asyncio.get_running_loop().time() + self._deadline.patience())

    def end(self) -> None:
        """End the request at once; it raises a TimeoutError."""
        with suppress(RuntimeError):  # it is being ended, or over
            self._scope.reschedule(asyncio.get_running_loop().time())
            self.closed = True


class LoopState:
    """What a pool keeps of the running event loop: its connections too. Holds no reference to the loop.

    Made within the loop. The connections are closed when the loop's async generators are, as at the end of
    `asyncio.run`, or else when the loop is gone.
    """

    def __init__(self, most: int) -> None:
        self.turns = Turns(most)
        self.idle = Idle(most)
        self._owner = _begun(_closing(self.idle))
        self.flights: weakref.WeakSet[Flight] = weakref.WeakSet()
        self._lookup: weakref.ref[asyncio.Future[list[Address]]] | None = None

    async def addresses(self, host: str, port: int, kept: Addresses) -> list[Address]:
        """Return the addresses of a host; all who ask at once share one look-up, in a thread."""
        lookup = self._lookup() if self._lookup else None
        if lookup is None or lookup.done():
            try:
                lookup = asyncio.get_running_loop().run_in_executor(None, look_up, host, port)
            except RuntimeError:
                return look_up(host, port)  # the interpreter is ending, and takes no more work for threads
            lookup.add_done_callback(_looked_at)
            self._lookup = weakref.ref(lookup)
        return kept.keep(await asyncio.shield(lookup))


async def _closing(idle: Idle) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        idle.close()


def _begun(owner: AsyncGenerator[None]) -> AsyncGenerator[None]:
    """Begin an async generator of the running loop, which is to be finalised at the loop's end and at no other time.

    The loop's hook for generators that nobody holds any more would hold the loop.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(finalizer=None)
    try:
        first = anext(owner)
    finally:
        sys.set_asyncgen_hooks(*hooks)
    with suppress(StopIteration):
        first.__await__().__next__()
    return owner


def _looked_at(lookup: asyncio.Future[list[Address]]) -> None:
    # What nobody waits for any more is not to be logged.
    if not lookup.cancelled():
        lookup.exception()


async def connect(addresses: list[Address]) -> socket.socket:
    """Return a connection to the first of the addresses that answers (https://www.rfc-editor.org/rfc/rfc8305).

    Raises:
        OSError: None does; that of the last one.
    """
    if len(addresses) == 1:
        return await _connected(addresses[0])
    waiting, under_way = in_turn(addresses), set[asyncio.Task[socket.socket]]()
    failure: OSError = OSError("the host has no address")
    try:
        while waiting or under_way:
            if waiting:
                under_way.add(asyncio.ensure_future(_connected(waiting.pop(0))))
            done, under_way = await asyncio.wait(
                under_way, timeout=STAGGER if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            found = [task.result() for task in done if task.exception() is None]
            for sock in found[1:]:
                sock.close()
            if found:
                return found[0]
            failure = next((error for task in done if isinstance(error := task.exception(), OSError)), failure)
        raise failure
    finally:
        for task in under_way:
            task.cancel()
            task.add_done_callback(_close_late)


async def _connected(address: Address) -> socket.socket:
    family, place = address
    sock = new_socket(family)
    try:
        await asyncio.get_running_loop().sock_connect(sock, place)
    except BaseException:
        sock.close()
        raise
    return sock


def _close_late(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def move(connection: Connection, sock: socket.socket, flight: Flight, is_done: Callable[[], bool]) -> None:
    """Send and receive what a connection wants to, until it is done.

    Raises:
        HttpFault: What was received ends the connection.
        OSError: The connection failed.
    """
    loop = asyncio.get_running_loop()
    process = os.getpid()
    try:
        while not is_done():
            while connection.has_output:
                if connection.is_open() and wait(sock, 0):
                    connection.receive(sock.recv(RECEIVED_AT_ONCE))
                else:
                    await _send(connection, sock, loop)
                    # What the server takes in is a sign of it.
                    flight.goes_on()
            if not is_done():
                connection.receive(await loop.sock_recv(sock, RECEIVED_AT_ONCE))
                if not is_done():
                    flight.goes_on()
    except GeneratorExit:
        # The coroutine was closed, and the loop goes on; but a child process must not touch its parent's selector.
        if os.getpid() == process and not loop.is_closed():
            with suppress(NotImplementedError):
                loop.remove_reader(sock)
                loop.remove_writer(sock)
        raise


async def _send(connection: Connection, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
    try:
        await loop.sock_sendall(sock, connection.output())
    except (BrokenPipeError, ConnectionResetError) as error:
        # It may have said why before it closed the connection.
        if is_a_handlers(error) or not connection.refused():
            raise
    else:
        connection.taken_all()
