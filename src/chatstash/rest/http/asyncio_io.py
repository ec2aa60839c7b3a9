"""Moves the bytes of a connection for asyncio. Opens sockets.

A socket is registered with the loop for one wait at a time, and no transport keeps it. So a socket holds no loop, and
a loop's connections end when the loop does, even if nobody closes it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from chatstash.rest.deadline import Deadline
from chatstash.rest.http.blocking import resolve
from chatstash.rest.http.connection import Connection
from chatstash.rest.http.idle import IdleConnections
from chatstash.rest.http.sockets import RECEIVE_SIZE, STAGGER, Address, AddressCache, Socket, interleaved
from chatstash.rest.interrupts import is_from_signal_handler

_POLL_SECONDS = 0.005
"""How often a loop that cannot watch sockets (Windows' ProactorEventLoop) tries again to send."""


class RequestSlots:
    """Limits the requests of one event loop in flight to `most`, first come first served. An async context manager.

    It holds the loop and the waiting tasks by weak references only.
    """

    def __init__(self, most: int) -> None:
        self._free = most
        self._waiting: deque[weakref.ref[asyncio.Future[None]]] = deque()

    @property
    def all_taken(self) -> bool:
        """Whether the next request has to wait."""
        return self._free <= 0

    async def __aenter__(self) -> None:
        if not self.all_taken:
            self._free -= 1
            return
        slot: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(weakref.ref(slot))
        try:
            await slot
        except BaseException:
            if slot.done() and not slot.cancelled():
                self._release()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._release()

    def _release(self) -> None:
        """Free a slot, or pass it to the next waiting request."""
        while self._waiting:
            slot = self._waiting.popleft()()
            if slot is not None and not slot.done():
                slot.set_result(None)
                return
        self._free += 1


class RequestScope:
    """The scope of one request in a loop. It ends at the deadline, after a long silence, or if the pool is closed."""

    def __init__(self, state: LoopState, deadline: Deadline, *, must_wait: bool) -> None:
        self._state = state
        self._deadline = deadline
        self._scope = asyncio.timeout(deadline.remaining() if must_wait else deadline.silence_limit())
        self.aborted = False
        """Whether the pool was closed meanwhile."""

    async def __aenter__(self) -> Self:
        await self._scope.__aenter__()
        self._state.scopes.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._state.scopes.discard(self)
        await self._scope.__aexit__(kind, error, traceback)

    def extend(self) -> None:
        """Restart the time limit of a silence."""
        with suppress(RuntimeError):  # the scope is ending
            self._scope.reschedule(asyncio.get_running_loop().time() + self._deadline.silence_limit())

    def abort(self) -> None:
        """End the request at once, with a TimeoutError."""
        with suppress(RuntimeError):  # the scope is ending, or has ended
            self._scope.reschedule(asyncio.get_running_loop().time())
            self.aborted = True


class LoopState:
    """The connections and requests of the running event loop. Holds no reference to the loop.

    Created within the loop. The connections are closed with the loop's async generators, as `asyncio.run` does at its
    end, or else when the loop is garbage collected.
    """

    def __init__(self, most: int) -> None:
        self.slots = RequestSlots(most)
        self.idle = IdleConnections(most)
        self._closing = _started(_close_finally(self.idle))
        self.scopes: weakref.WeakSet[RequestScope] = weakref.WeakSet()
        self._lookup: weakref.ref[asyncio.Future[list[Address]]] | None = None

    async def resolve(self, host: str, port: int, cache: AddressCache) -> list[Address]:
        """Return the addresses of a host. Concurrent callers share one look-up, in a thread."""
        lookup = self._lookup() if self._lookup else None
        if lookup is None or lookup.done():
            try:
                lookup = asyncio.get_running_loop().run_in_executor(None, resolve, host, port)
            except RuntimeError:
                return resolve(host, port)  # the interpreter is shutting down, and starts no more threads
            lookup.add_done_callback(_retrieve_exception)
            self._lookup = weakref.ref(lookup)
        return cache.put(await asyncio.shield(lookup))


async def _close_finally(idle: IdleConnections) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        idle.close()


def _started(generator: AsyncGenerator[None]) -> AsyncGenerator[None]:
    """Start an async generator that the running loop finalises at its end only.

    The loop's hook for generators that are garbage collected would hold the loop.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(finalizer=None)
    try:
        first = anext(generator)
    finally:
        sys.set_asyncgen_hooks(*hooks)
    with suppress(StopIteration):
        first.__await__().__next__()
    return generator


def _retrieve_exception(lookup: asyncio.Future[list[Address]]) -> None:
    # Without this, asyncio logs the failure of a look-up whose callers were cancelled.
    if not lookup.cancelled():
        lookup.exception()


async def connect(addresses: list[Address]) -> Socket:
    """Return a connection to the first of the addresses that answers (https://www.rfc-editor.org/rfc/rfc8305)."""
    if len(addresses) == 1:
        return await _connected(addresses[0])
    waiting, connecting = interleaved(addresses), set[asyncio.Task[Socket]]()
    failure: OSError = OSError("the host has no address")
    try:
        while waiting or connecting:
            if waiting:
                connecting.add(asyncio.ensure_future(_connected(waiting.pop(0))))
            done, connecting = await asyncio.wait(
                connecting, timeout=STAGGER if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            found = [task.result() for task in done if task.exception() is None]
            for sock in found[1:]:
                sock.close()
            if found:
                return found[0]
            failure = next((error for task in done if isinstance(error := task.exception(), OSError)), failure)
        raise failure
    finally:
        for task in connecting:
            task.cancel()
            task.add_done_callback(_close_socket)


async def _connected(address: Address) -> Socket:
    family, place = address
    sock = Socket(family)
    try:
        await asyncio.get_running_loop().sock_connect(sock, place)
    except BaseException:
        sock.close()
        raise
    return sock


def _close_socket(task: asyncio.Task[Socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def move(connection: Connection, sock: Socket, scope: RequestScope, is_done: Callable[[], bool]) -> None:
    """Send and receive the bytes of a connection, until `is_done()`."""
    loop = asyncio.get_running_loop()
    while not is_done():
        if connection.has_output and not (connection.is_open() and sock.wait(0)):
            if not _send(connection, sock):
                await _wait_to_send(sock, loop)
            goes_on: bool = connection.has_output
        else:
            connection.receive(await _received(sock, loop))
            goes_on = not is_done()
        if goes_on:
            # A server that accepts or sends bytes is not silent.
            scope.extend()


def _send(connection: Connection, sock: Socket) -> bool:
    """Send what the socket accepts, and tell whether it accepted any."""
    try:
        count = sock.send(connection.output())
    except BlockingIOError:
        count = 0
    except (BrokenPipeError, ConnectionResetError) as error:
        # The server may have sent the reason before it closed the connection.
        if is_from_signal_handler(error) or not connection.send_failed():
            raise
        return True
    connection.note_sent(count)
    return count > 0


async def _received(sock: Socket, loop: asyncio.AbstractEventLoop) -> bytes:
    while True:
        try:
            await _ready(sock, loop)
        except NotImplementedError:
            return await loop.sock_recv(sock, RECEIVE_SIZE)
        with suppress(BlockingIOError):
            return sock.recv(RECEIVE_SIZE)


async def _wait_to_send(sock: Socket, loop: asyncio.AbstractEventLoop) -> None:
    """Wait until the socket accepts bytes, or the server has sent some."""
    try:
        await _ready(sock, loop, to_send=True)
    except NotImplementedError:
        await asyncio.sleep(_POLL_SECONDS)


async def _ready(sock: Socket, loop: asyncio.AbstractEventLoop, *, to_send: bool = False) -> None:
    """Wait until bytes have come or, if `to_send`, the socket accepts some."""
    # By number: the selector puts the repr of an object into an error that asyncio drops.
    number, process = sock.fileno(), os.getpid()
    ready = loop.create_future()
    loop.add_reader(number, _set, ready)
    try:
        if to_send:
            loop.add_writer(number, _set, ready)
        await ready
    finally:
        # The coroutine may be closed after its loop; and a child process must not touch its parent's selector.
        if os.getpid() == process and not loop.is_closed():
            loop.remove_reader(number)
            if to_send:
                loop.remove_writer(number)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
