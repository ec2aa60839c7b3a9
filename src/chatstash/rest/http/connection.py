"""One connection to a database, without its socket: what to send next, and what received bytes mean. Pure.

It carries one request at a time. A reply is the answer to a request only where it came after the request went out, and
where nothing else did.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from chatstash.rest.http.faults import BadReply, Broken, Refused
from chatstash.rest.http.messages import HttpRequest
from chatstash.rest.http.replies import ReplyReader
from chatstash.rest.http.route import Route

if TYPE_CHECKING:
    import ssl

    from chatstash.rest.http.tls import Tls

_PIECE = 2**16
"""Bytes given to a socket at once: between two pieces it is looked whether the server has answered already."""


class Exchange:
    """One request under way, from before there is a connection to the end of its reply.

    Attributes:
        request: The request.
        sent: Whether the request may have gone out whole.
        early: Whether the reply began before the request had gone out whole.
        reader: Reads the reply.
    """

    __slots__ = ("early", "reader", "request", "sent")

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.sent = False
        self.early = False
        self.reader = ReplyReader()

    def begin_anew(self) -> None:
        """Forget a connection on which the request did not go out."""
        self.reader.close()
        self.sent = False
        self.early = False
        self.reader = ReplyReader()

    def is_done(self) -> bool:
        """Tell whether the whole reply is there."""
        return self.reader.done


class Connection:
    """A connection's state.

    Args:
        route: Where it goes.
        tls_context: Gives what verifies servers.
    """

    __slots__ = ("_exchange", "_layers", "_opening", "_piece", "_route", "_tls_context", "_waiting", "used")

    def __init__(self, route: Route, tls_context: Callable[[], ssl.SSLContext]) -> None:
        self.used = False
        """Whether it has carried a request before."""
        self._route = route
        self._tls_context = tls_context
        self._layers: list[Tls] = []  # that nearest to the socket first
        self._waiting: deque[bytes | memoryview] = deque()
        self._piece = memoryview(b"")
        self._exchange: Exchange | None = None
        self._opening: Generator[None, bytes, None] | None = self._open()
        self._advance(None)

    def is_open(self) -> bool:
        """Tell whether it is ready for requests."""
        return self._opening is None

    @property
    def has_output(self) -> bool:
        """Whether there is something to send."""
        return bool(self._piece or self._waiting)

    def begin(self, exchange: Exchange) -> None:
        """Take a request to send.

        Raises:
            BadReply: The server has spoken already.
        """
        early = b""
        for layer in self._layers:
            early = layer.decrypt(early)
        if early:
            raise BadReply("the server sent something before it was asked")
        self._exchange = exchange
        body = exchange.request.body
        if len(body) <= _PIECE:
            self._waiting.append(self._route.head(exchange.request) + body)
        else:
            view = memoryview(body)
            self._waiting.append(self._route.head(exchange.request))
            self._waiting.extend(view[start : start + _PIECE] for start in range(0, len(view), _PIECE))

    def finish(self) -> bool:
        """Let go of an exchange that is done, and tell whether another may follow.

        Raises:
            BadReply: What was read cannot be the answer to the request.
        """
        exchange, self._exchange = self._exchange, None
        assert exchange is not None
        if exchange.early:
            # On a fresh connection nobody else can be meant: a server may refuse a request while it comes in.
            if self.used or exchange.reader.status < 400:
                raise BadReply("the reply began before the request had been sent")
            return False
        self.used = True
        return exchange.reader.reusable and not any(layer.ended for layer in self._layers)

    def output(self) -> memoryview:
        """Return what to send next. It may hold the token: pass it on, and keep it in no variable."""
        if not self._piece:
            self._piece = memoryview(self._encrypted(self._waiting.popleft()))
        if self._exchange is not None and not self._waiting:
            self._exchange.sent = True
        return self._piece

    def taken(self, count: int) -> None:
        """Note how many bytes of the output the socket took."""
        self._piece = self._piece[count:]
        if self._piece and self._exchange is not None:
            self._exchange.sent = False

    def taken_all(self) -> None:
        """Note that the socket took all of the output."""
        self._piece = memoryview(b"")

    def refused(self) -> bool:
        """Stop sending a request that the server does not take in; tell whether it may have said why."""
        self.stop_sending()
        if self._exchange is not None:
            self._exchange.early = True
        return self._exchange is not None

    def stop_sending(self) -> None:
        """Drop what is not sent yet, and every buffer that may hold the token."""
        self._waiting.clear()
        self._piece = memoryview(b"")

    def receive(self, data: bytes) -> None:
        """Take bytes from the socket; empty where it has ended.

        Raises:
            HttpFault: They end this connection.
            ssl.SSLError: TLS failed.
        """
        ended = not data
        if ended and self._layers and not self._layers[-1].ended:
            raise Broken("the connection ended within a TLS session")
        for layer in self._layers:
            data = layer.decrypt(data)
            ended = layer.ended
        if data:
            self._take(data)
        if ended and not (self._exchange is not None and self._exchange.is_done()):
            self._take(b"")

    def _take(self, data: bytes) -> None:
        if self._opening is not None:
            self._advance(data)
        else:
            self._answer(data)

    def _answer(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            raise BadReply("the server sent something that was not asked for")
        early = self.has_output
        if early and self.used:
            raise BadReply("the server sent something before the request had gone out")
        exchange.reader.feed(data)
        if early and exchange.reader.is_final:
            exchange.early, exchange.sent = True, False
            self.stop_sending()

    def _advance(self, data: bytes | None) -> None:
        opening = self._opening
        assert opening is not None
        if data == b"":
            raise Broken("the connection ended before it was ready")
        try:
            next(opening) if data is None else opening.send(data)
        except StopIteration:
            self._opening = None

    def _open(self) -> Generator[None, bytes, None]:
        route = self._route
        if route.proxy_host is not None:
            yield from self._secure(route.proxy_host)
        if route.tunnel is not None:
            yield from self._tunnel(route.tunnel.get_secret_value)
        if route.tls_host is not None:
            yield from self._secure(route.tls_host)

    def _secure(self, host: str) -> Generator[None, bytes, None]:
        from chatstash.rest.http.tls import Tls  # noqa: PLC0415 - ssl is loaded where it is used

        tls = Tls(self._tls_context(), host)
        done = tls.shake_hands(b"")
        while True:
            if records := tls.output():
                self._waiting.append(records)
            if done:
                break
            done = tls.shake_hands((yield))
        # What is still to be sent of the handshake is not to be encrypted by it.
        while self._waiting:
            self._piece = memoryview(bytes(self._piece) + self._encrypted(self._waiting.popleft()))
        self._layers.append(tls)

    def _tunnel(self, head: Callable[[], str]) -> Generator[None, bytes, None]:
        self._waiting.append(head().encode("latin-1"))
        reader = ReplyReader(tunnel=True)
        while not reader.done:
            reader.feed((yield))
        if not 200 <= reader.status < 300:
            raise Refused(f"the proxy does not open a tunnel (status {reader.status})")

    def _encrypted(self, data: bytes | memoryview) -> bytes | memoryview:
        for layer in reversed(self._layers):
            data = layer.encrypt(data)
        return data
