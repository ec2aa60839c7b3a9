"""One connection to a database, without its socket: what to send next, and what received bytes mean. Pure.

It carries one request at a time. A reply answers a request only if it came after the request was sent, and nothing
else came.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from chatstash.rest.http.exchange import BadReply, Broken, HttpRequest, TunnelRefused
from chatstash.rest.http.replies import ReplyReader
from chatstash.rest.http.route import Route

if TYPE_CHECKING:
    import ssl

    from chatstash.rest.http.tls import Tls

_PIECE_SIZE = 2**16
"""Bytes to send at once. Between two pieces, the shells check whether the server has answered already."""


class Exchange:
    """One request in flight and its reply, on one connection after another until it can be sent.

    `sent`: the whole request may have been sent. `early`: the reply began before that.
    """

    __slots__ = ("early", "reader", "request", "sent")

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.sent = False
        self.early = False
        self.reader = ReplyReader()

    def restart(self) -> None:
        """Forget a connection that failed before the whole request was sent."""
        self.reader.close()
        self.sent = False
        self.early = False
        self.reader = ReplyReader()

    def is_done(self) -> bool:
        """Tell whether the reply is complete."""
        return self.reader.done


class Connection:
    """The state of one connection."""

    __slots__ = ("_exchange", "_layers", "_piece", "_route", "_setup", "_tls_context", "_waiting", "used")

    def __init__(self, route: Route, tls_context: Callable[[], ssl.SSLContext]) -> None:
        self.used = False
        """Whether it has carried a request."""
        self._route = route
        self._tls_context = tls_context
        self._layers: list[Tls] = []  # the one nearest to the socket first
        self._waiting: deque[bytes | memoryview] = deque()
        self._piece = memoryview(b"")
        self._exchange: Exchange | None = None
        self._setup: Generator[None, bytes, None] | None = self._set_up()
        self._advance(None)

    def is_open(self) -> bool:
        """Tell whether TLS and the tunnel are set up."""
        return self._setup is None

    @property
    def has_output(self) -> bool:
        """Whether there are bytes to send."""
        return bool(self._piece or self._waiting)

    def begin(self, exchange: Exchange) -> None:
        """Begin to send a request."""
        early = b""
        for layer in self._layers:
            early = layer.decrypt(early)
        if early:
            raise BadReply("the server sent data before the request")
        self._exchange = exchange
        body = exchange.request.body
        if len(body) <= _PIECE_SIZE:
            self._waiting.append(self._route.head(exchange.request) + body)
        else:
            view = memoryview(body)
            self._waiting.append(self._route.head(exchange.request))
            self._waiting.extend(view[start : start + _PIECE_SIZE] for start in range(0, len(view), _PIECE_SIZE))

    def finish(self) -> bool:
        """End an exchange, and tell whether the connection can carry another."""
        exchange, self._exchange = self._exchange, None
        assert exchange is not None
        if exchange.early:
            # On a fresh connection it can belong to no other: a server may refuse a request before it is complete.
            if self.used or exchange.reader.status < 400:
                raise BadReply("the reply began before the request was sent")
            return False
        self.used = True
        return exchange.reader.reusable and not any(layer.ended for layer in self._layers)

    def output(self) -> memoryview:
        """Return the bytes to send next. They may hold the token: keep them in no variable."""
        if not self._piece:
            self._piece = memoryview(self._encrypted(self._waiting.popleft()))
        if self._exchange is not None and not self._waiting:
            self._exchange.sent = True
        return self._piece

    def note_sent(self, count: int) -> None:
        """Note that the socket accepted `count` bytes of the output."""
        self._piece = self._piece[count:]
        if self._piece and self._exchange is not None:
            self._exchange.sent = False

    def send_failed(self) -> bool:
        """Stop sending: the server closed its side. Tell whether it may have sent a reply before that."""
        self.stop_sending()
        if self._exchange is not None:
            self._exchange.early = True
        return self._exchange is not None

    def stop_sending(self) -> None:
        """Drop unsent bytes, and with them every buffer that may hold the token."""
        self._waiting.clear()
        self._piece = memoryview(b"")

    def receive(self, data: bytes) -> None:
        """Process bytes from the socket; empty bytes mean its end."""
        ended = not data
        if ended and self._layers and not self._layers[-1].ended:
            raise Broken("the connection ended before its TLS session")
        for layer in self._layers:
            data = layer.decrypt(data)
            ended = layer.ended
        if data:
            self._process(data)
        if ended and not (self._exchange is not None and self._exchange.is_done()):
            self._process(b"")

    def _process(self, data: bytes) -> None:
        if self._setup is not None:
            return self._advance(data)
        exchange = self._exchange
        if exchange is None:
            raise BadReply("the server sent data without a request")
        early = self.has_output
        if early and self.used:
            raise BadReply("the server sent data before the request was sent")
        exchange.reader.feed(data)
        if early and not exchange.reader.in_head:
            exchange.early, exchange.sent = True, False
            self.stop_sending()
        return None

    def _advance(self, data: bytes | None) -> None:
        setup = self._setup
        assert setup is not None
        if data == b"":
            raise Broken("the connection ended before it was ready")
        try:
            next(setup) if data is None else setup.send(data)
        except StopIteration:
            self._setup = None

    def _set_up(self) -> Generator[None, bytes, None]:
        route = self._route
        if route.proxy_host is not None:
            yield from self._secure(route.proxy_host)
        if route.tunnel is not None:
            yield from self._tunnel(route.tunnel.get_secret_value)
        if route.tls_host is not None:
            yield from self._secure(route.tls_host)

    def _secure(self, host: str) -> Generator[None, bytes, None]:
        from chatstash.rest.http.tls import Tls  # noqa: PLC0415 - ssl is imported on first use

        tls = Tls(self._tls_context(), host)
        done = tls.handshake(b"")
        while True:
            if records := tls.output():
                self._waiting.append(records)
            if done:
                break
            done = tls.handshake((yield))
        # The rest of the handshake must not be encrypted by the session that it sets up.
        while self._waiting:
            self._piece = memoryview(bytes(self._piece) + self._encrypted(self._waiting.popleft()))
        self._layers.append(tls)

    def _tunnel(self, head: Callable[[], str]) -> Generator[None, bytes, None]:
        self._waiting.append(head().encode("latin-1"))
        reader = ReplyReader(tunnel=True)
        while not reader.done:
            reader.feed((yield))
        if not 200 <= reader.status < 300:
            raise TunnelRefused(f"the proxy refused to open a tunnel (status {reader.status})")

    def _encrypted(self, data: bytes | memoryview) -> bytes | memoryview:
        for layer in reversed(self._layers):
            data = layer.encrypt(data)
        return data
