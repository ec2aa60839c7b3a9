"""What one connection takes for the reply to its request, with no socket: whole, unambiguous, and alone."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from itertools import repeat

import pytest

from chatstash.rest.endpoint import Endpoint
from chatstash.rest.http import replies
from chatstash.rest.http.connection import Connection, Exchange
from chatstash.rest.http.environment import tls_context
from chatstash.rest.http.exchange import HttpFault, HttpRequest
from chatstash.rest.http.route import Route

BODY = b'{"result": ["alice"]}'
END = b""
HINTS = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n"
CHUNKED = "transfer-encoding: chunked"


def _head(*lines: str, status: str = "200 OK", version: str = "1.1") -> bytes:
    return "".join(f"{line}\r\n" for line in (f"HTTP/{version} {status}", *lines, "")).encode()


def _reply(*lines: str, body: bytes = BODY, status: str = "200 OK", version: str = "1.1") -> bytes:
    return _head(f"content-length: {len(body)}", *lines, status=status, version=version) + body


def _chunks(body: bytes = BODY, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"5\r\n%b\r\n%x;x=y\r\n%b\r\n%b" % (body[:5], len(body) - 5, body[5:], end)


OTHER = _reply(body=b'{"result": ["mallory"]}')
LENGTH = f"content-length: {len(BODY)}"


def _exchange(pieces: Iterable[bytes]) -> tuple[Exchange, bool]:
    """Run one exchange; returns it and whether the connection can carry another."""
    connection = Connection(Route(Endpoint("http://h.example", "t"), None), tls_context)
    exchange = Exchange(HttpRequest("/", {}, b"[]"))
    connection.begin(exchange)
    while connection.has_output:
        connection.note_sent(len(connection.output()))
    for piece in pieces:
        connection.receive(piece)
    assert exchange.is_done()
    return exchange, connection.finish()


READ: dict[str, tuple[list[bytes], bool]] = {
    "a length": ([_reply()], True),
    "chunks": ([_head(CHUNKED) + _chunks()], True),
    "chunks and trailers": ([_head(CHUNKED) + _chunks(end=b"0\r\nx-sum: 1\r\ny: 2\r\n\r\n")], True),
    "early hints": ([HINTS + _reply()], False),
    "early hints first": ([HINTS, _reply()], False),
    "early hints in pieces": ([bytes([byte]) for byte in HINTS + _reply()], False),
    "the most interim replies": ([HINTS * replies.MAX_INTERIM + _reply()], False),
    "close": ([_reply("connection: close")], False),
    "HTTP/1.0": ([_reply(version="1.0")], False),
    "HTTP/1.0 with keep-alive": ([_reply("connection: keep-alive", version="1.0")], True),
    "a body up to the end": ([_head() + BODY, END], False),
}


@pytest.mark.parametrize("name", READ)
def test_what_is_read(name: str) -> None:
    pieces, is_reusable = READ[name]
    exchange, reusable = _exchange(pieces)
    assert (exchange.reader.reply.body, reusable) == (BODY, is_reusable)


def _without_end(data: bytes) -> Iterator[bytes]:
    return repeat(data, 2**28 // len(data) + 2)


REFUSED: dict[str, Iterable[bytes]] = {
    "two replies at once": [_reply() + OTHER],
    "a reply and a hint": [_reply() + HINTS],
    "a length too small": [_head("content-length: 10") + BODY + OTHER],
    "a length too large": [_head("content-length: 1000") + BODY, END],
    "a length too large, and more": [_head(f"content-length: {len(BODY) + 10}") + BODY + OTHER],
    "no body, as for HEAD": [_head(LENGTH), END],
    "a length twice": [_head(LENGTH, LENGTH) + BODY],
    "a list of lengths": [_head(f"{LENGTH}, {len(BODY)}") + BODY],
    "two lengths": [_head(LENGTH, "content-length: 5") + BODY],
    "a signed length": [_head(f"content-length: +{len(BODY)}") + BODY],
    "a length and chunks": [_head("content-length: 5", CHUNKED) + _chunks()],
    "chunks and a length": [_head(CHUNKED, "content-length: 5") + _chunks()],
    "chunks in HTTP/1.0": [_head(CHUNKED, version="1.0") + _chunks()],
    "chunks twice": [_head(CHUNKED, CHUNKED) + _chunks()],
    "compressed chunks": [_head("transfer-encoding: gzip, chunked") + _chunks(gzip.compress(BODY))],
    "chunks and another reply": [_head(CHUNKED) + _chunks() + OTHER],
    "a broken chunk": [_head(CHUNKED) + _chunks().replace(b";x=y", b"\x00")],
    "an end within the chunks": [_head(CHUNKED) + _chunks(end=b""), END],
    "no content": [_reply(status="204 No Content")],
    "reset content": [_reply(status="205 Reset Content") + OTHER],
    "not modified": [_reply(status="304 Not Modified")],
    "other protocols": [_head("upgrade: h2c", status="101 Switching Protocols") + _reply()],
    "an interim reply with a length": [_reply(body=b"", status="103 Hints") + _reply()],
    "an interim reply with a body": [_reply(body=OTHER, status="103 Hints") + _reply()],
    "too many interim replies": [HINTS * (replies.MAX_INTERIM + 1) + _reply()],
    "interim replies without end": _without_end(HINTS * 50),
    "a head without end": _without_end(b"HTTP/1.1 200 OK\r\nx: " + b"x" * 10_000),
    "many headers": [_reply(*(f"x-{number}: y" for number in range(10_000)))],
    "trailers without end": [_head(CHUNKED) + _chunks(end=b"0\r\n" + b"x: y\r\n" * 100_000)],
    "a chunk header without end": [_head(CHUNKED) + b"5;" + b"x" * 1_000_000],
    "a negative length": [_head("content-length: -1") + BODY],
    "a length of no digits": [_head("content-length: ") + BODY, END],
    "a length in hexadecimal": [_head("content-length: 0x16") + BODY],
    "a length with an underscore": [_head("content-length: 2_2") + BODY],
    "a length of other digits": [_head("content-length: ").replace(b": ", ": \u0662\u0662".encode()) + BODY],
    "a length over two lines": [_head("content-length: 2", " 2") + BODY],
    "a space before the colon": [_head(f"content-length : {len(BODY)}") + BODY],
    "a signed chunk": [_head(CHUNKED) + b"+" + _chunks()],
    "a chunk with an underscore": [_head(CHUNKED) + b"0_" + _chunks()],
    "a chunk in 0x": [_head(CHUNKED) + b"0x" + _chunks()],
    "a chunk longer than its length": [_head(CHUNKED) + b"5\r\n" + BODY + b"\r\n0\r\n\r\n"],
    "bytes after the trailers": [_head(CHUNKED) + _chunks(end=b"0\r\nx: y\r\n\r\n") + b"\r\n"],
    "another encoding than chunks": [_head("transfer-encoding: identity", LENGTH) + BODY],
    "HTTP/2": [_reply(version="2.0")],
    "a hint with chunks": [b"HTTP/1.1 103 Hints\r\n" + CHUNKED.encode() + b"\r\n\r\n" + _chunks() + _reply()],
    "a line end before": [b"\r\n" + _reply()],
    "another version": [_reply(version="2.0")],
    "gzip": [_reply("content-encoding: gzip", body=gzip.compress(BODY))],
    "br": [_reply("content-encoding: br")],
    "x-gzip": [_reply("content-encoding: x-gzip", body=gzip.compress(BODY))],
    "GZIP in capitals": [_reply("CONTENT-ENCODING: GZIP", body=gzip.compress(BODY))],
    "identity and gzip": [_reply("content-encoding: identity, gzip", body=gzip.compress(BODY))],
    "gzip, and identity on a line of its own": [
        _reply("content-encoding: gzip", "content-encoding: identity", body=gzip.compress(BODY))
    ],
    "a huge length": [_head(f"content-length: {2**40}") + BODY],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    with pytest.raises(HttpFault):
        _exchange(REFUSED[name])
