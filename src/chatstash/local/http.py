"""HTTP/1.1 on asyncio: requests of a connection in order, each answered in one write, with bounds on what a client may
send or hold open. Knows nothing of Redis.

The parser is httptools (llhttp, Node's own). The rest is ours because a server that misbehaves on demand (half a body,
a reset connection, no answer at all) must hold the connection itself, which no server library lets a handler do; and
because it answers twice to three times as many requests per CPU-second as uvicorn or aiohttp (docs/dependencies.md).
"""

from __future__ import annotations

import asyncio
import enum
import functools
import http
import logging
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, cast

import httptools

MAX_HEAD_BYTES = 128 * 1024
MAX_BODY_BYTES = 256 * 1024 * 1024
IDLE_SECONDS = 75.0
"""How long a connection may wait for its next request."""
REQUEST_SECONDS = 60.0
"""How long a client may take to send a request, and how long it may leave a reply unread."""
_SWEEP_SECONDS = 0.5
_STOP_SECONDS = 2.0
_LINGER_SECONDS = 2.0
_MAX_WAITING = 16

_METHODS = {"GET", "HEAD", "POST", "PUT"}
_log = logging.getLogger("chatstash.local")


class Delivery(enum.Enum):
    """What becomes of a response on its way to the client."""

    WHOLE = "the whole reply"
    LOST = "the connection is closed without a reply"
    RESET = "the connection is reset without a reply"
    TRUNCATED = "half of the body, then the connection is closed"
    NEVER = "the connection stays open without a reply until the client leaves"


@dataclass(slots=True)
class HttpRequest:
    """One request: names of headers in lower case, the target as it was sent."""

    method: str
    target: bytes
    headers: dict[bytes, bytes]
    body: bytes


class Events(Protocol):
    """A body that comes bit by bit."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield each part as it comes."""

    def close(self) -> None:
        """End it, whether or not it was begun."""


@dataclass(slots=True)
class HttpResponse:
    """One response.

    Attributes:
        status: The status code.
        body: The whole body, unless there are events.
        content_type: The Content-Type.
        headers: Further headers.
        events: A body that is sent bit by bit, each as it comes, until it or the client ends.
        delivery: What becomes of it on its way.
    """

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    events: Events | None = None
    delivery: Delivery = Delivery.WHOLE


Handler: TypeAlias = Callable[[HttpRequest], Awaitable[HttpResponse]]
Refuser: TypeAlias = Callable[[int, str], HttpResponse]
Admission: TypeAlias = Callable[[HttpRequest], HttpResponse | None]


class HttpServer:
    """Serves a handler on a listening socket.

    Args:
        handler: Answers a request. It runs to its end even where the client leaves meanwhile.
        refuse: Makes the response to what is no request the handler could answer, of a status and a sentence.
        admit: Looks at each request before its body is read, and returns the response to one that is not let in. Of
            such a request no more is kept.
        on_connection: Called for each connection that is accepted.
    """

    def __init__(
        self,
        handler: Handler,
        refuse: Refuser,
        admit: Admission,
        on_connection: Callable[[], None] | None = None,
    ) -> None:
        self.handler = handler
        self.refuse = refuse
        self.admit = admit
        self.connections: set[HttpConnection] = set()
        self._on_connection = on_connection
        self._server: asyncio.Server | None = None
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self, listener: socket.socket) -> None:
        """Begin to accept connections."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, sock=listener, backlog=1024)
        self._sweeping = loop.create_task(self._sweep())

    async def stop(self) -> None:
        """Accept no more; give requests under way 2 seconds to end; then close every connection."""
        assert self._server is not None
        assert self._sweeping is not None
        self._server.close()
        self._sweeping.cancel()
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
        return HttpConnection(self)

    async def _sweep(self) -> None:
        """Close what has been idle or sending for too long."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = asyncio.get_running_loop().time()
            for connection in list(self.connections):
                connection.close_if_late(now)


class HttpConnection(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[HttpRequest | HttpResponse, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone = asyncio.Event()
        self._deadline = self._loop.time() + IDLE_SECONDS
        self._waits_for_client = False
        self._ends = False
        self._refused = False
        self._begin()

    # asyncio calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._server.connections.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Let a handler that is at work go on, but nothing that only feeds this client."""
        self._server.connections.discard(self)
        self._gone.set()
        self._writable.set()
        self._waiting.clear()
        if self._waits_for_client and self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        """Wait with more until the client has read."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Go on writing."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Parse what came, and refuse what is no request."""
        if self._refused:
            return
        was_in_head = self._in_head
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserInvalidMethodError:
            self._refuse(*_NO_METHOD)
        except httptools.HttpParserError:
            self._refuse(*_NO_HTTP)
        if was_in_head and self._in_head:
            # A header that does not end is not counted by its parts.
            self._grow_head(len(data))

    def eof_received(self) -> bool:
        """Answer what came before a client said that no more will come."""
        self._ends = True
        return self._task is not None and not self._waits_for_client

    # httptools calls these.

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._begin()
        self._in_head = True
        if self._task is None:
            self._deadline = self._loop.time() + REQUEST_SECONDS

    def on_url(self, url: bytes) -> None:
        """Keep a part of the target."""
        self._target += url
        self._grow_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; what comes behind the body changes nothing of what was let in."""
        if self._in_head:
            self._headers[name.lower()] = value
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > MAX_HEAD_BYTES:
            self._grow_head(0)

    def on_headers_complete(self) -> None:
        """Let the request in or not, and tell a client that asks first to go on."""
        self._in_head, self._in_body = False, True
        if self._refused:
            return
        method = self._parser.get_method().decode("latin-1")
        refusal = self._server.admit(HttpRequest(method, _path(self._target), self._headers, b""))
        if refusal is not None:
            self._turn_away(refusal, is_head=method == "HEAD")
            return
        expects = self._headers.get(b"expect", b"").lower() == b"100-continue"
        # Never in the middle of a reply to an earlier request; the client then sends its body after a while anyway.
        if expects and self._task is None and self._parser.get_http_version() == "1.1" and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        if self._refused:
            return
        self._body.append(body)
        self._body_bytes += len(body)
        if self._body_bytes > MAX_BODY_BYTES:
            self._body.clear()
            self._refuse(413, f"the body of the request is larger than {MAX_BODY_BYTES} bytes")

    def on_message_complete(self) -> None:
        """Hand the request on."""
        self._in_body = False
        if self._refused or self._parser.should_upgrade():
            return
        method = self._parser.get_method().decode("latin-1")
        request = HttpRequest(method, _path(self._target), self._headers, b"".join(self._body))
        self._begin()
        self._enqueue(
            request if method in _METHODS else self._server.refuse(*_NO_METHOD), keep=self._parser.should_keep_alive()
        )

    # What this class does with it.

    def close_when_idle(self) -> None:
        """Close as soon as no request is under way."""
        self._ends = True
        if self._transport is not None and (self._waits_for_client or self._task is None):
            self._transport.close()

    def abort(self) -> asyncio.Task[None] | None:
        """Close at once, and return the task that is at work."""
        if self._transport is not None:
            self._transport.abort()
        if self._task is not None:
            self._task.cancel()
        return self._task

    def close_if_late(self, now: float) -> None:
        """Close where the client has kept this connection waiting for too long."""
        if now < self._deadline or self._transport is None:
            return
        if self._transport.is_closing():
            # What was written last is never read.
            self._transport.abort()
        elif self._refused or self._task is not None or not (self._in_head or self._in_body):
            self._transport.abort() if self._task is not None else self._transport.close()
        else:
            self._refuse(408, "the request did not arrive in time")

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Take a request that offers another protocol for what it is without the offer, as a server may.

        https://www.rfc-editor.org/rfc/rfc9110#section-7.8
        """
        method = self._parser.get_method()
        if method == b"CONNECT":
            self._refuse(*_NO_METHOD)
            return
        kept = {name: value for name, value in self._headers.items() if name not in _HOP_BY_HOP}
        lines = [method + b" " + self._target + b" HTTP/1.1", *(name + b": " + value for name, value in kept.items())]
        self._parser = httptools.HttpRequestParser(self)
        self.data_received(b"\r\n".join([*lines, b"connection: close"]) + b"\r\n\r\n" + rest)

    def _begin(self) -> None:
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._in_head = False
        self._in_body = False
        self._head_bytes = 0

    def _grow_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(431, "the head of the request is too large")

    def _refuse(self, status: int, reason: str) -> None:
        if not self._refused:
            self._turn_away(self._server.refuse(status, reason))

    def _turn_away(self, response: HttpResponse, *, is_head: bool = False) -> None:
        """Answer, and take no more from this connection."""
        self._refused = True
        if is_head:
            response.body = b""
        self._enqueue(response, keep=False)

    def _enqueue(self, item: HttpRequest | HttpResponse, *, keep: bool) -> None:
        self._waiting.append((item, keep))
        if self._writable.is_set():
            self._deadline = float("inf")
        if self._task is None:
            self._task = self._loop.create_task(self._serve())
        elif len(self._waiting) >= _MAX_WAITING and self._transport is not None:
            self._transport.pause_reading()

    async def _serve(self) -> None:
        """Answer what waits, in order."""
        try:
            while self._waiting:
                item, keep = self._waiting.popleft()
                response = item if isinstance(item, HttpResponse) else await self._answer(item)
                is_head = isinstance(item, HttpRequest) and item.method == "HEAD"
                keep = keep and (bool(self._waiting) or not self._ends)
                try:
                    await self._deliver(response, keep=keep, is_head=is_head)
                finally:
                    if response.events is not None:
                        response.events.close()
                if self._transport is None or self._transport.is_closing() or not keep:
                    self._waiting.clear()
        finally:
            self._task = None
            self._rest()

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        try:
            return await self._server.handler(request)
        except Exception as error:  # noqa: BLE001 - logged; a client never sees a traceback, nor hangs
            _log.exception("the local server failed")
            return self._server.refuse(500, f"internal error of the local server ({type(error).__name__})")

    def _rest(self) -> None:
        """Wait for the next request."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._ends:
            transport.close()
            return
        if self._refused:
            return
        reading = self._in_head or self._in_body
        self._deadline = self._loop.time() + (REQUEST_SECONDS if reading else IDLE_SECONDS)
        if not transport.is_reading():
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
            transport.write(_head(response, keep=keep) + (b"" if is_head else response.body))
            await self._until_read()
            if not keep:
                self._close_gently(transport)

    def _close_gently(self, transport: asyncio.Transport) -> None:
        """Close; after a refusal only when the client has, who may still be sending and would lose the reply."""
        if self._refused and not self._ends and transport.can_write_eof():
            transport.write_eof()
            self._deadline = self._loop.time() + _LINGER_SECONDS
        else:
            self._close(transport)

    def _close(self, transport: asyncio.Transport) -> None:
        """Close once what was written is read, which may take only so long."""
        self._deadline = self._loop.time() + REQUEST_SECONDS
        transport.close()

    async def _misdeliver(self, transport: asyncio.Transport, response: HttpResponse) -> None:
        match response.delivery:
            case Delivery.TRUNCATED:
                whole = _head(response, keep=True) + response.body
                # Of a reply without a body half of the head, or it would be whole.
                transport.write(
                    whole[: len(whole) - (len(response.body) + 1) // 2 if response.body else len(whole) // 2]
                )
                self._close(transport)
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
            # The client has hung up already; nothing would tell of it later.
            self._close(transport)
            return
        chunked = self._parser.get_http_version() == "1.1"
        transport.write(_head(response, keep=False, chunked=chunked))
        self._waits_for_client = True
        try:
            async for part in response.events:
                transport.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
                await self._until_read()
            if chunked:
                transport.write(b"0\r\n\r\n")
        finally:
            self._waits_for_client = False
            self._close(transport)

    async def _until_read(self) -> None:
        if not self._writable.is_set():
            self._deadline = self._loop.time() + REQUEST_SECONDS
            await self._writable.wait()
            self._deadline = float("inf")


_HOP_BY_HOP = {b"upgrade", b"connection", b"http2-settings"}
_NO_METHOD = (405, "only HEAD, GET, POST and PUT are allowed")
_NO_HTTP = (400, "this is not an HTTP/1.1 request")


def _path(target: bytes) -> bytes:
    """Return a target without the address before it, which clients of a proxy send."""
    scheme, found, rest = target.partition(b"://")
    if not found or not scheme.isalpha():
        return target
    return b"/" + rest.partition(b"/")[2]


def _head(response: HttpResponse, *, keep: bool, chunked: bool = False) -> bytes:
    head = _status_line(response.status, response.content_type)
    for name, value in response.headers.items():
        head += f"{name}: {value}\r\n"
    if response.events is None:
        head += f"content-length: {len(response.body)}\r\n"
    elif chunked:
        head += "transfer-encoding: chunked\r\n"
    return (head + ("\r\n" if keep else "connection: close\r\n\r\n")).encode("latin-1")


@functools.lru_cache(maxsize=64)
def _status_line(status: int, content_type: str) -> str:
    return f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\ncontent-type: {content_type}\r\n"


_PHRASES = {status.value: status.phrase for status in http.HTTPStatus}


def _reset(transport: asyncio.Transport) -> None:
    """Close so that the client sees a reset and not an orderly end."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
