"""Bytes from a client into requests, with limits on their size."""

from __future__ import annotations

from typing import Protocol

import httptools

from chatstash.local.http.messages import HttpRequest

MAX_HEAD_BYTES = 128 * 1024
MAX_BODY_BYTES = 256 * 1024 * 1024
_METHODS = {"GET", "HEAD", "POST", "PUT"}
_UNKNOWN_METHOD = (405, "only HEAD, GET, POST and PUT are allowed")
_INVALID_HTTP = (400, "this is not an HTTP/1.1 request")
_HEAD_TOO_LARGE = (431, "the head of the request is too large")
_HOP_BY_HOP = {b"upgrade", b"connection", b"http2-settings"}


class Receiver(Protocol):
    """What a parser reports to."""

    def head_received(self, head: HttpRequest) -> None:
        """The head of a request is complete. Call `RequestParser.stop` here to skip the body."""

    def request_received(self, request: HttpRequest, *, keep: bool) -> None:
        """A request is complete; `keep` tells whether the client keeps the connection open."""

    def request_refused(self, status: int, reason: str) -> None:
        """The bytes are not an acceptable request. The parser reads no more."""


class RequestParser:
    """Parses the requests of one connection."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._parser = httptools.HttpRequestParser(self)
        self.is_stopped = False
        self._reset()

    @property
    def speaks_http_1_1(self) -> bool:
        """Whether the client understands a chunked body."""
        return self._parser.get_http_version() == "1.1"

    def feed(self, data: bytes) -> None:
        """Parse the next bytes."""
        if self.is_stopped:
            return
        was_in_head = self._in_head
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserInvalidMethodError:
            self._refuse(*_UNKNOWN_METHOD)
        except httptools.HttpParserError:
            self._refuse(*_INVALID_HTTP)
        if was_in_head and self._in_head:
            # The parser reports a header only when it is complete.
            self._grow_head(len(data))

    def stop(self) -> None:
        """Ignore all further bytes."""
        self.is_stopped = True

    # httptools calls these.

    def on_message_begin(self) -> None:
        """Start a request."""
        self._reset()
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        """Append a part of the target."""
        self._target += url
        self._grow_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header. Trailers are ignored: they must not change a request that was admitted."""
        if self._in_head:
            self._headers[name.lower()] = value
        self._grow_head(len(name) + len(value) + 4)

    def on_headers_complete(self) -> None:
        """Report the head."""
        self._in_head = False
        if not self.is_stopped:
            self._receiver.head_received(self._request(b""))

    def on_body(self, body: bytes) -> None:
        """Append a part of the body."""
        if self.is_stopped:
            return
        self._body.append(body)
        self._body_bytes += len(body)
        if self._body_bytes > MAX_BODY_BYTES:
            self._body.clear()
            self._refuse(413, f"the body of the request is larger than {MAX_BODY_BYTES} bytes")

    def on_message_complete(self) -> None:
        """Report the request."""
        if self.is_stopped or self._parser.should_upgrade():
            return
        request = self._request(b"".join(self._body))
        self._reset()
        if request.method in _METHODS:
            self._receiver.request_received(request, keep=self._parser.should_keep_alive())
        else:
            self._refuse(*_UNKNOWN_METHOD)

    def _request(self, body: bytes) -> HttpRequest:
        return HttpRequest(self._parser.get_method().decode("latin-1"), _path(self._target), self._headers, body)

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Parse a request that offers another protocol again without the offer.

        https://www.rfc-editor.org/rfc/rfc9110#section-7.8
        """
        method = self._parser.get_method()
        if method == b"CONNECT":
            self._refuse(*_UNKNOWN_METHOD)
            return
        kept = {name: value for name, value in self._headers.items() if name not in _HOP_BY_HOP}
        lines = [method + b" " + self._target + b" HTTP/1.1", *(name + b": " + value for name, value in kept.items())]
        self._parser = httptools.HttpRequestParser(self)
        self.feed(b"\r\n".join([*lines, b"connection: close"]) + b"\r\n\r\n" + rest)

    def _reset(self) -> None:
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._in_head = False
        self._head_bytes = 0

    def _grow_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(*_HEAD_TOO_LARGE)

    def _refuse(self, status: int, reason: str) -> None:
        if not self.is_stopped:
            self.stop()
            self._receiver.request_refused(status, reason)


def _path(target: bytes) -> bytes:
    """Return a target without the scheme and host that clients of a proxy send."""
    scheme, found, rest = target.partition(b"://")
    if not found or not scheme.isalpha():
        return target
    return b"/" + rest.partition(b"/")[2]
