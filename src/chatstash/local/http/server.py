"""The HTTP server: accepts connections until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable

from chatstash.local.http.connection import HttpConnection
from chatstash.local.http.messages import Service

_STOP_SECONDS = 2.0


@contextlib.asynccontextmanager
async def serving(
    service: Service, listener: socket.socket, on_connection: Callable[[], None] | None = None
) -> AsyncIterator[None]:
    """Serve HTTP on a listening socket.

    At the end, running requests have 2 seconds to finish, then every connection is closed.
    """
    connections: set[HttpConnection] = set()

    def accept() -> HttpConnection:
        if on_connection is not None:
            on_connection()
        return HttpConnection(service, connections)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(accept, sock=listener, backlog=1024)
    try:
        yield
    finally:
        server.close()
        await _close(connections)


async def _close(connections: set[HttpConnection]) -> None:
    for connection in list(connections):
        connection.close_when_idle()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_STOP_SECONDS):
            while connections:  # noqa: ASYNC110 - they end one by one
                await asyncio.sleep(0.01)
    tasks = [connection.abort() for connection in list(connections)]
    await asyncio.gather(*filter(None, tasks), return_exceptions=True)
