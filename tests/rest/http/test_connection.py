"""One connection without a socket: whose reply is whose, and what may have gone out."""

from __future__ import annotations

import pytest

from chatstash.rest.endpoint import Endpoint
from chatstash.rest.http.connection import Connection, Exchange
from chatstash.rest.http.environment import Proxy, tls_context
from chatstash.rest.http.exchange import BadReply, Broken, HttpFault, HttpRequest
from chatstash.rest.http.route import Route
from chatstash.rest.secret import Secret
from chatstash.version import __version__

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
HINTS = b"HTTP/1.1 103 Early Hints\r\n\r\n"
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno"


def _connection(url: str = "http://h.example/base", proxy: str = "") -> Connection:
    return Connection(Route(Endpoint(url, "secret-token"), Proxy(Secret(proxy)) if proxy else None), tls_context)


def _exchange(size: int = 10) -> Exchange:
    return Exchange(HttpRequest("/pipeline", {"x-own": "1"}, b"x" * size))


def _send(connection: Connection, pieces: int = 10**6) -> bytes:
    sent = b""
    while connection.has_output and pieces:
        piece = bytes(connection.output())
        connection.note_sent(len(piece))
        sent += piece
        pieces -= 1
    return sent


def _answered(connection: Connection, reply: bytes) -> Exchange:
    exchange = _exchange()
    connection.begin(exchange)
    _send(connection)
    connection.receive(reply)
    return exchange


def test_a_request_and_its_reply() -> None:
    connection = _connection()
    exchange = _exchange()
    connection.begin(exchange)
    assert _send(connection) == (
        b"POST /base/pipeline HTTP/1.1\r\nhost: h.example\r\nuser-agent: chatstash/" + __version__.encode() + b"\r\n"
        b"accept-encoding: identity\r\nauthorization: Bearer secret-token\r\ncontent-length: 10\r\nx-own: 1\r\n\r\n"
        b"xxxxxxxxxx"
    )
    for byte in OK:
        assert not exchange.is_done()
        connection.receive(bytes([byte]))
    assert exchange.is_done()
    assert connection.finish()
    assert (exchange.reader.reply.status, exchange.reader.reply.body) == (200, b"hi")


@pytest.mark.parametrize("data", [OK, b"\r\n", HINTS, b"", b"x"])
def test_between_two_exchanges_nothing_may_come(data: bytes) -> None:
    connection = _connection()
    _answered(connection, OK)
    assert connection.finish()
    with pytest.raises(HttpFault):
        connection.receive(data)


@pytest.mark.parametrize("reply", [OK, TOO_LARGE, HINTS, b"H"])
@pytest.mark.parametrize("pieces", [0, 3])
def test_what_comes_while_a_used_connection_sends_is_no_answer(reply: bytes, pieces: int) -> None:
    connection = _connection()
    _answered(connection, OK)
    connection.finish()
    exchange = _exchange(1_000_000)
    connection.begin(exchange)
    _send(connection, pieces)
    with pytest.raises(BadReply):
        connection.receive(reply)
    assert not exchange.sent


def test_an_interim_reply_while_a_fresh_one_sends() -> None:
    connection, exchange = _connection(), _exchange(1_000_000)
    connection.begin(exchange)
    _send(connection, 3)
    connection.receive(HINTS)
    assert len(_send(connection)) > 800_000
    connection.receive(OK)
    assert exchange.is_done()
    assert not connection.finish(), "not for another request"


def test_while_a_fresh_one_sends_it_may_be_an_error() -> None:
    for reply, is_answer in ((OK, False), (TOO_LARGE, True)):
        connection = _connection()
        exchange = _exchange(1_000_000)
        connection.begin(exchange)
        _send(connection, pieces=3)
        connection.receive(reply)
        if is_answer:
            assert not connection.finish(), "not for another request"
        else:
            with pytest.raises(BadReply):
                connection.finish()


def test_whether_it_was_sent_is_known_of_each_request_itself() -> None:
    one, other = _connection(), _connection()
    sent, unsent = _exchange(1_000_000), _exchange(1_000_000)
    one.begin(sent)
    other.begin(unsent)
    _send(other, pieces=15)
    _send(one)
    with pytest.raises(Broken):
        other.receive(b"")
    assert (sent.sent, unsent.sent) == (True, False)


def test_what_the_socket_takes_in_part_is_not_sent_yet() -> None:
    connection, exchange = _connection(), _exchange()
    connection.begin(exchange)
    whole = len(connection.output())
    assert exchange.sent, "from here on it may have gone out"
    connection.note_sent(whole - 1)
    assert not exchange.sent
    assert len(connection.output()) == 1
    connection.note_sent(1)
    assert exchange.sent
    assert not connection.has_output


def test_a_plain_url_through_a_proxy() -> None:
    connection = _connection("http://h.example:81", "http://ada:p%40ss@proxy:3128")
    connection.begin(_exchange())
    sent = _send(connection)
    assert sent.startswith(b"POST http://h.example:81/pipeline HTTP/1.1\r\nhost: h.example:81\r\n")
    assert b"proxy-authorization: Basic YWRhOnBAc3M=\r\n" in sent


@pytest.mark.parametrize("early", [b"", b"\x16\x03\x03"])
def test_a_tunnel_is_asked_for_without_the_token(early: bytes) -> None:
    connection = _connection("https://h.example", "http://ada:p@proxy:3128")
    asked = _send(connection)
    assert asked.startswith(b"CONNECT h.example:443 HTTP/1.1\r\nhost: h.example:443\r\n")
    assert b"proxy-authorization: Basic YWRhOnA=\r\n" in asked
    assert b"secret-token" not in asked
    reply = b"HTTP/1.1 200 Connection established\r\ncontent-length: 5\r\n\r\n" + early
    if early:
        with pytest.raises(BadReply):
            connection.receive(reply)
    else:
        connection.receive(reply)
        assert _send(connection)[:1] == b"\x16", "a handshake begins"


def test_an_ipv6_address() -> None:
    connection = _connection("http://[::1]:8080")
    connection.begin(_exchange())
    assert b"\r\nhost: [::1]:8080\r\n" in _send(connection)
