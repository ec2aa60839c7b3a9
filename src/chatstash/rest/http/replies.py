"""Reads one HTTP/1.1 reply from bytes. llhttp parses (https://llhttp.org); this module adds the client's rules. Pure.

A reply is accepted only if its framing (https://www.rfc-editor.org/rfc/rfc9112#section-6) is unambiguous and nothing
follows it. Memory is bounded at each moment, whatever a server claims.
"""

from __future__ import annotations

from typing import Any

import httptools

from chatstash.rest.http.exchange import BadReply, Broken, HttpFault, HttpReply, UnwantedReply

MAX_HEAD = 2**16
"""Maximum bytes of heads, trailers and chunk headers without body between them; most servers send under 2^10."""

MAX_BODY = 2**28
"""Maximum bytes of a body. No Upstash plan permits a request or reply over 100 MB, 134 MB in base64
(https://upstash.com/docs/redis/troubleshooting/max_request_size_exceeded)."""

_SMALL = 2**12
"""Parts of a body smaller than this are joined at once: kept, a million parts of one byte would take 40 MB."""

MAX_INTERIM = 100
"""Maximum number of interim (1xx) replies before the final one."""

_FRAMING = ("content-length", "transfer-encoding")
_ONCE = (*_FRAMING, "content-encoding")


class ReplyReader:
    """Reads the reply to one request. Used once.

    Args:
        tunnel: The request was a CONNECT: a reply of status 2xx has no body, whatever its head says
            (https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6).
    """

    done = False
    """Whether the reply is complete."""
    status = 0
    """The status of the newest complete head; 0 before."""
    in_head = True
    """Whether the head of the final reply is incomplete."""
    _interim = 0
    _head_size = 0
    _pending = 0  # bytes since the last byte of the body
    _unframed = False
    _reusable = False
    _wrong: HttpFault | None = None

    def __init__(self, *, tunnel: bool = False) -> None:
        self._tunnel = tunnel
        self._parser: Any = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body = _Body()

    @property
    def reply(self) -> HttpReply:
        """The reply, once it is done."""
        return HttpReply(self.status, self._headers, self._body.joined())

    @property
    def reusable(self) -> bool:
        """Whether the connection can carry another request: the reply has an explicit end, and is not the last."""
        return self.done and self._reusable and not self._interim

    def close(self) -> None:
        """Release the parser, which refers to this object, and the body."""
        self._parser = None
        self._body = _Body()

    def feed(self, data: bytes) -> None:
        """Read bytes from the connection; empty bytes mean its end."""
        if not data:
            return self._end()
        if self.status == 0 and self._pending == 0 and not data.startswith(b"H"):
            raise BadReply("the reply is not HTTP")
        self._pending += len(data)
        # llhttp does not say where a message ended. If only the last byte completes it, nothing follows it.
        view = memoryview(data)
        self._parse(view[:-1])
        if self.done:
            raise BadReply("the reply was followed by bytes that belong to no request")
        self._parse(view[-1:])
        if self._pending > MAX_HEAD and not self.done:
            raise BadReply(f"the reply has over {MAX_HEAD} bytes of headers")
        return None

    def _end(self) -> None:
        if not self._unframed:
            raise Broken("the server closed the connection")
        self.done = True

    def _parse(self, data: memoryview) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self.done:
                raise self._wrong or BadReply("the reply is malformed HTTP") from None

    # Callbacks of httptools. An exception ends the parsing, but httptools replaces it by one of its own types.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Read a header line; lines after the body (trailers) are ignored."""
        self._head_size += len(name) + len(value)
        if self._head_size > MAX_HEAD:
            self._refuse(BadReply(f"the reply has over {MAX_HEAD} bytes of headers"))
        if not self.in_head:
            return
        key = name.decode("latin-1").lower()
        if key in self._headers and key in _ONCE:
            self._refuse(BadReply(f"the reply has more than one {key}"))
        self._headers[key] = value.decode("latin-1").strip()

    def on_headers_complete(self) -> None:
        """Check the head of an interim or final reply."""
        self.status = status = self._parser.get_status_code()
        if self._parser.get_http_version() not in ("1.0", "1.1") or not 100 <= status < 600:
            self._refuse(BadReply("the reply has another HTTP version or an invalid status"))
        if status < 200:
            return self._skip_interim()
        self.in_head = False
        if self._tunnel and status < 300:
            self.done = True
            return None
        self._check_framing()
        self._check_encoding()
        return None

    def on_body(self, data: bytes) -> None:
        """Read a part of the body."""
        self._body.add(data)
        self._pending = 0
        if self._body.size > MAX_BODY:
            self._refuse(UnwantedReply(f"the reply is over {MAX_BODY} bytes"))

    def on_message_complete(self) -> None:
        """Mark the final reply as complete."""
        if self.status >= 200:
            self.done = True

    def _skip_interim(self) -> None:
        self._interim += 1
        if self.status == 101:
            self._refuse(BadReply("the server switches protocols without being asked to"))
        if self._interim > MAX_INTERIM or any(name in self._headers for name in _FRAMING):
            self._refuse(BadReply("there are too many interim replies, or one has a body"))
        self._headers = {}

    def _check_framing(self) -> None:
        length, coding = self._headers.get("content-length"), self._headers.get("transfer-encoding")
        if coding is not None and (
            length is not None or coding.lower() != "chunked" or self._parser.get_http_version() == "1.0"
        ):
            self._refuse(BadReply("the length of the reply is ambiguous"))
        if length is not None:
            if not (length.isascii() and length.isdigit()):
                self._refuse(BadReply("the length of the reply is ambiguous"))
            if int(length) > MAX_BODY:
                self._refuse(UnwantedReply(f"the reply is over {MAX_BODY} bytes"))
        bodiless = self.status in (204, 205, 304)
        self._unframed = length is None and coding is None and not bodiless
        self._reusable = not self._unframed and not bodiless and self._parser.should_keep_alive()

    def _check_encoding(self) -> None:
        coding = self._headers.get("content-encoding")
        if coding is not None and coding.lower() not in ("", "identity"):
            self._refuse(UnwantedReply("the reply is compressed, though compression was not requested"))

    def _refuse(self, fault: HttpFault) -> None:
        self._wrong = fault
        raise fault


class _Body:
    """The body of a reply in parts: one buffer would be moved again and again while it grows."""

    def __init__(self) -> None:
        self.size = 0
        self._parts: list[bytes] = []
        self._small = bytearray()

    def add(self, part: bytes) -> None:
        """Add the next part."""
        self.size += len(part)
        if len(part) < _SMALL:
            self._small += part
            if len(self._small) < _SMALL:
                return
            part = b""
        self._parts += [bytes(self._small), part]
        self._small.clear()

    def joined(self) -> bytes:
        """Return the whole body."""
        return b"".join([*self._parts, self._small])
