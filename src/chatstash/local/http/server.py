"""The HTTP server: accepts connections until it is stopped."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from chatstash.local.http.connection import HttpConnection
from chatstash.local.http.messages import Service

_STOP_SECONDS = 2.0


class HttpServer:
    """Serves HTTP on a listening socket."""

    def __init__(self, service: Service, on_connection: Callable[[], None] | None = None) -> None:
        self._service = service
        self.connections: set[HttpConnection] = set()
        self._on_connection = on_connection
        self._server: asyncio.Server | None = None

    async def start(self, listener: socket.socket) -> None:
        """Start to accept connections."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, sock=listener, backlog=1024)

    async def stop(self) -> None:
        """Stop accepting, give running requests 2 seconds to finish, then close every connection."""
        assert self._server is not None
        self._server.close()
        for connection in list(self.connections):
            connection.close_when_idle()
        end = asyncio.get_running_loop().time() + _STOP_SECONDS
        while self.connections and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110 - they end one by one
            await asyncio.sleep(0.01)
        tasks = [connection.abort() for connection in list(self.connections)]
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)

    def _accept(self) -> HttpConnection:
        if self._on_connection is not None:
            self._on_connection()
        return HttpConnection(self._service, self.connections)
