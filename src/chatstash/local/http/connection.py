"""One connection of a client: requests answered in order."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections import deque
from typing import cast

from chatstash.local.http.messages import Delivery, HttpRequest, HttpResponse, Service, half_of, head_of
from chatstash.local.http.request_parser import RequestParser

_LINGER_SECONDS = 2.0
_MAX_WAITING = 16
_log = logging.getLogger("chatstash.local")


class HttpConnection(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, service: Service, connections: set[HttpConnection]) -> None:
        self._service = service
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._parser = RequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[HttpRequest | HttpResponse, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone = asyncio.Event()
        self._waits_for_client = False
        self._ends = False

    # asyncio calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Cancel a stream to this client; a running handler finishes."""
        self._connections.discard(self)
        self._gone.set()
        self._writable.set()
        self._waiting.clear()
        if self._waits_for_client and self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        """Stop writing until the client has read."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Continue writing."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Parse the bytes."""
        self._parser.feed(data)

    def eof_received(self) -> bool:
        """Answer the requests received so far, then close."""
        self._ends = True
        return self._task is not None and not self._waits_for_client

    # The parser calls these.

    def head_received(self, head: HttpRequest) -> None:
        """Admit the request or turn it away."""
        refusal = self._service.admit(head)
        if refusal is not None:
            self._turn_away(refusal, is_head=head.method == "HEAD")
        elif b"expect" in head.headers and self._task is None and self._transport is not None:
            # Never within the reply to an earlier request; the client sends its body after a while anyway.
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def request_received(self, request: HttpRequest, *, keep: bool) -> None:
        """Answer the request when its turn comes."""
        self._enqueue(request, keep=keep)

    def request_refused(self, status: int, reason: str) -> None:
        """Answer with an error, and close."""
        self._turn_away(self._service.refuse(status, reason))

    # The server calls these.

    def close_when_idle(self) -> None:
        """Close as soon as no request is running."""
        self._ends = True
        if self._transport is not None and (self._waits_for_client or self._task is None):
            self._transport.close()

    def abort(self) -> asyncio.Task[None] | None:
        """Close at once, and return the running task, cancelled."""
        if self._transport is not None:
            self._transport.abort()
        if self._task is not None:
            self._task.cancel()
        return self._task

    def _turn_away(self, response: HttpResponse, *, is_head: bool = False) -> None:
        """Send a response, and read no more from this connection."""
        self._parser.stop()
        if is_head:
            response.body = b""
        self._enqueue(response, keep=False)

    def _enqueue(self, item: HttpRequest | HttpResponse, *, keep: bool) -> None:
        self._waiting.append((item, keep))
        if self._task is None:
            self._task = self._loop.create_task(self._serve())
        elif len(self._waiting) >= _MAX_WAITING and self._transport is not None:
            self._transport.pause_reading()

    async def _serve(self) -> None:
        """Answer the waiting requests in order."""
        try:
            while self._waiting:
                item, keep = self._waiting.popleft()
                response = item if isinstance(item, HttpResponse) else await self._answer(item)
                is_head = isinstance(item, HttpRequest) and item.method == "HEAD"
                keep = keep and (bool(self._waiting) or not self._ends)
                try:
                    await self._deliver(response, keep=keep, is_head=is_head)
                finally:
                    if response.close_events is not None:
                        response.close_events()
                if self._transport is None or self._transport.is_closing() or not keep:
                    self._waiting.clear()
        finally:
            self._task = None
            self._wait_for_next()

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        try:
            return await self._service.handle(request)
        except Exception as error:  # noqa: BLE001 - logged; the client gets an error, not a traceback or a hang
            _log.exception("the local server failed")
            return self._service.refuse(500, f"internal error of the local server ({type(error).__name__})")

    def _wait_for_next(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._ends:
            transport.close()
        elif not self._parser.is_stopped and not transport.is_reading():
            transport.resume_reading()

    async def _deliver(self, response: HttpResponse, *, keep: bool, is_head: bool) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if response.delivery is not Delivery.WHOLE:
            await self._misdeliver(transport, response)
        elif response.events is not None and not is_head:
            await self._stream(transport, response)
        else:
            transport.write(head_of(response, keep=keep) + (b"" if is_head else response.body))
            await self._writable.wait()
            if not keep:
                self._close_gently(transport)

    def _close_gently(self, transport: asyncio.Transport) -> None:
        """Close. After a refusal the client closes first: it may still be sending, and a reset would lose the reply."""
        if self._parser.is_stopped and not self._ends and transport.can_write_eof():
            transport.write_eof()
            self._loop.call_later(_LINGER_SECONDS, transport.abort)
        else:
            transport.close()

    async def _misdeliver(self, transport: asyncio.Transport, response: HttpResponse) -> None:
        match response.delivery:
            case Delivery.TRUNCATED:
                transport.write(half_of(response))
                transport.close()
            case Delivery.RESET:
                _reset(transport)
            case Delivery.NEVER if not self._ends:
                self._waits_for_client = True
                await self._gone.wait()
            case _:
                transport.close()

    async def _stream(self, transport: asyncio.Transport, response: HttpResponse) -> None:
        assert response.events is not None
        if self._ends:
            # The client has left already; nothing would report it later.
            transport.close()
            return
        chunked = self._parser.speaks_http_1_1
        transport.write(head_of(response, keep=False, chunked=chunked))
        self._waits_for_client = True
        try:
            async for part in response.events:
                transport.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
                await self._writable.wait()
            if chunked:
                transport.write(b"0\r\n\r\n")
        finally:
            self._waits_for_client = False
            transport.close()


def _reset(transport: asyncio.Transport) -> None:
    """Close with a TCP reset instead of an orderly end."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
