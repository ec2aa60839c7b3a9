"""One reply, one request: whatever a server or a proxy sends, no reply reaches a request that it does not answer.

Two conversations are read by turns through one store. Each reply names whose it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from chatstash import Applied, DatabaseError, Record, RequestTooLarge, Session, Store
from chatstash.history.results import ReadResult
from chatstash.rest.http import replies
from tests.faulty import Exchange, FaultyServer

Start = Callable[..., FaultyServer]
Attack = Callable[[Exchange, bytes], None]
NAMES = ("alice", "bob")


def _body(name: str) -> bytes:
    return b'{"result": ["{\\"type\\":\\"human\\",\\"data\\":{\\"content\\":\\"%b\\"}}"]}' % name.encode()


def _head(*lines: str, status: str = "200 OK", version: str = "1.1") -> bytes:
    return "".join(
        f"{line}\r\n" for line in (f"HTTP/{version} {status}", "content-type: application/json", *lines, "")
    ).encode()


def _reply(body: bytes, *lines: str, status: str = "200 OK", version: str = "1.1") -> bytes:
    return _head(f"content-length: {len(body)}", *lines, status=status, version=version) + body


def _chunked(body: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"%x\r\n%b\r\n" % (len(body) // 2, body[: len(body) // 2]) + b"%x;x=y\r\n%b\r\n" % (
        len(body) - len(body) // 2,
        body[len(body) // 2 :],
    ) + end  # fmt: skip


OTHER = _reply(_body("mallory"))
HINTS = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n"
CHUNKED = "transfer-encoding: chunked"


def _sends(make: Callable[[bytes], bytes]) -> Attack:
    return lambda exchange, body: exchange.send(make(body))


def _later(exchange: Exchange, first: bytes, second: bytes, pause: float = 0.02) -> None:
    exchange.send(first)
    exchange.wait(pause)
    exchange.send(second)


def _for_ever(exchange: Exchange, data: bytes) -> None:
    while not exchange.server.closing.is_set():
        exchange.send(data)


def _ended(exchange: Exchange, data: bytes) -> None:
    exchange.send(data)
    exchange.hang_up()


# What is read all the same, and how many connections the four reads take.
READ: dict[str, tuple[Attack, int]] = {
    "a plain reply": (_sends(_reply), 1),
    "chunks": (_sends(lambda body: _head(CHUNKED) + _chunked(body)), 1),
    "chunks and trailers": (_sends(lambda body: _head(CHUNKED) + _chunked(body, b"0\r\nx-sum: 1\r\ny: 2\r\n\r\n")), 1),
    "early hints": (_sends(lambda body: HINTS + _reply(body)), 4),
    "early hints before the rest": (lambda e, body: _later(e, HINTS, _reply(body)), 4),
    "early hints in pieces": (lambda e, body: e.drip(HINTS + _reply(body), 0.0), 4),
    "continue": (_sends(lambda body: b"HTTP/1.1 100 Continue\r\n\r\n" + _reply(body)), 4),
    "as many interim replies as are permitted": (_sends(lambda body: HINTS * replies.MAX_INTERIM + _reply(body)), 4),
    "close": (_sends(lambda body: _reply(body, "connection: close")), 4),
    "HTTP/1.0": (_sends(lambda body: _reply(body, version="1.0")), 4),
    "HTTP/1.0 that stays": (_sends(lambda body: _reply(body, "connection: keep-alive", version="1.0")), 1),
}

# What may be there before the reply was read, or after: then the reply is refused, or read.
LATER = {"a second reply": OTHER, "an interim reply": HINTS, "a line end": b"\r\n", "an end": b""}

REFUSED: dict[str, Attack] = {
    "two replies at once": _sends(lambda body: _reply(body) + OTHER),
    "a reply and a hint": _sends(lambda body: _reply(body) + HINTS),
    "a length too small": _sends(lambda body: _head("content-length: 10") + body + OTHER),
    "a length too large": _sends(lambda body: _head(f"content-length: {len(body) + 100}") + body),
    "a length too large, and more": _sends(lambda body: _head(f"content-length: {len(body) + 100}") + body + OTHER),
    "no body, as for HEAD": _sends(lambda body: _head(f"content-length: {len(body)}")),
    "a length twice": _sends(lambda body: _head(*[f"content-length: {len(body)}"] * 2) + body),
    "a list of lengths": _sends(lambda body: _head(f"content-length: {len(body)}, {len(body)}") + body),
    "two lengths": _sends(lambda body: _head(f"content-length: {len(body)}", "content-length: 5") + body),
    "a signed length": _sends(lambda body: _head(f"content-length: +{len(body)}") + body),
    "a length and chunks": _sends(lambda body: _head("content-length: 5", CHUNKED) + _chunked(body)),
    "chunks and a length": _sends(lambda body: _head(CHUNKED, "content-length: 5") + _chunked(body)),
    "chunks in HTTP/1.0": _sends(lambda body: _head(CHUNKED, version="1.0") + _chunked(body)),
    "chunks twice": _sends(lambda body: _head(CHUNKED, CHUNKED) + _chunked(body)),
    "compressed chunks": _sends(lambda body: _head("transfer-encoding: gzip, chunked") + _chunked(gzip.compress(body))),
    "chunks and another reply": _sends(lambda body: _head(CHUNKED) + _chunked(body) + OTHER),
    "a broken chunk": _sends(lambda body: _head(CHUNKED) + _chunked(body).replace(b";x=y", b"\x00")),
    "no content": _sends(lambda body: _reply(body, status="204 No Content")),
    "reset content": _sends(lambda body: _reply(body, status="205 Reset Content") + OTHER),
    "not modified": _sends(lambda body: _reply(body, status="304 Not Modified")),
    "other protocols": _sends(lambda body: _head("upgrade: h2c", status="101 Switching Protocols") + _reply(body)),
    "an interim reply with a length": _sends(lambda body: _reply(b"", status="103 Hints") + _reply(body)),
    "an interim reply with a body": _sends(lambda body: _reply(OTHER, status="103 Hints") + _reply(body)),
    "too many interim replies": _sends(lambda body: HINTS * (replies.MAX_INTERIM + 1) + _reply(body)),
    "interim replies without end": lambda exchange, _: _for_ever(exchange, HINTS * 50),
    "a head without end": lambda exchange, _: _for_ever(exchange, b"HTTP/1.1 200 OK\r\nx: " + b"x" * 10_000),
    "a body without end": lambda exchange, _: _for_ever(exchange, _head(CHUNKED) + b"1\r\nx\r\n" * 10_000),
    "many headers": _sends(lambda body: _reply(body, *(f"x-{n}: y" for n in range(10_000)))),
    "trailers without end": _sends(lambda body: _head(CHUNKED) + _chunked(body, b"0\r\n" + b"x: y\r\n" * 100_000)),
    "a chunk header without end": _sends(lambda body: _head(CHUNKED) + b"5;" + b"x" * 1_000_000),
    "a line end before": _sends(lambda body: b"\r\n" + _reply(body)),
    "another version": _sends(lambda body: _reply(body, version="2.0")),
    "gzip": _sends(lambda body: _reply(gzip.compress(body), "content-encoding: gzip")),
    "br": _sends(lambda body: _reply(body, "content-encoding: br")),
    "a huge length": _sends(lambda body: _head(f"content-length: {2**40}") + body),
    "an end too early": lambda exchange, body: _ended(exchange, _head("content-length: 1000") + body),
    "an end within the chunks": lambda exchange, body: _ended(exchange, _head(CHUNKED) + _chunked(body, b"")),
}


HANGING = {"a length too large", "no body, as for HEAD"}


def _read_in_turn(
    session: Callable[[str], Session], *, asynchronous: bool, before: Callable[[], object] = bool
) -> list[ReadResult | DatabaseError]:
    """Read alice, bob, alice and bob; `before` is called before each."""
    names = NAMES * 2
    if not asynchronous:
        return [(before(), _outcome(session(name).read))[1] for name in names]

    async def use() -> list[ReadResult | DatabaseError]:
        return [(before(), await _aoutcome(session(name)))[1] for name in names]

    return asyncio.run(use())


def _outcome(read: Callable[[], ReadResult]) -> ReadResult | DatabaseError:
    try:
        return read()
    except DatabaseError as error:
        return error


async def _aoutcome(session: Session) -> ReadResult | DatabaseError:
    try:
        return await session.aread()
    except DatabaseError as error:
        return error


def _serve(faulty: Start, attack: Attack) -> FaultyServer:
    def handle(exchange: Exchange) -> None:
        name = next(name for name in NAMES if f"message_store:{name}".encode() in exchange.request)
        attack(exchange, _body(name))

    return faulty(handle)


def _contents(outcome: ReadResult | DatabaseError) -> object:
    return outcome if isinstance(outcome, DatabaseError) else [record.data["content"] for record in outcome.records]


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("name", READ)
def test_what_is_read(faulty: Start, name: str, asynchronous: bool) -> None:
    attack, connections = READ[name]
    server = _serve(faulty, attack)
    with Store(server.url, "t", timeout=5, retries=0) as store:
        outcomes = _read_in_turn(store.session, asynchronous=asynchronous)
    assert list(map(_contents, outcomes)) == [["alice"], ["bob"]] * 2
    assert server.connections == connections


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(faulty: Start, name: str, asynchronous: bool) -> None:
    server = _serve(faulty, REFUSED[name])
    with Store(server.url, "t", timeout=0.25 if name in HANGING else 10, retries=0) as store:
        outcomes = _read_in_turn(store.session, asynchronous=asynchronous)
    assert all(isinstance(outcome, DatabaseError) for outcome in outcomes), outcomes
    assert server.connections == 4


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("pause", [0.0, 0.01])
@pytest.mark.parametrize("name", LATER)
def test_what_comes_after_a_reply(faulty: Start, name: str, pause: float, asynchronous: bool) -> None:
    """It is there when the next request begins: the client waits until the server has sent it."""
    sent = threading.Event()
    sent.set()

    def more(exchange: Exchange, body: bytes) -> None:
        _later(exchange, _reply(body), LATER[name], pause)
        if name == "an end":
            exchange.hang_up()
        sent.set()

    def before() -> None:
        assert sent.wait(10)
        sent.clear()

    server = _serve(faulty, more)
    with Store(server.url, "t", timeout=10, retries=0) as store:
        outcomes = _read_in_turn(store.session, asynchronous=asynchronous, before=before)
    for outcome, expected in zip(outcomes, NAMES * 2, strict=True):
        assert isinstance(outcome, DatabaseError) or _contents(outcome) == [expected]
    assert server.connections == 4


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_reply_that_comes_too_late_answers_nobody(faulty: Start, asynchronous: bool) -> None:
    late = iter([True, False, True, False])

    def slow(exchange: Exchange, body: bytes) -> None:
        exchange.wait(0.4 if next(late) else 0)
        exchange.send(_reply(body))

    server = _serve(faulty, slow)
    with Store(server.url, "t", timeout=0.3, retries=0) as store:
        outcomes = _read_in_turn(store.session, asynchronous=asynchronous)
    assert [_contents(outcome) for outcome in outcomes[1::2]] == [["bob"], ["bob"]]
    assert all(isinstance(outcome, DatabaseError) for outcome in outcomes[::2])


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_body_up_to_the_end_of_the_connection(faulty: Start, asynchronous: bool) -> None:
    def until_the_end(exchange: Exchange, body: bytes) -> None:
        exchange.send(_head() + body)
        exchange.hang_up()

    server = _serve(faulty, until_the_end)
    with Store(server.url, "t", timeout=5, retries=0) as store:
        outcomes = _read_in_turn(store.session, asynchronous=asynchronous)
    assert list(map(_contents, outcomes)) == [["alice"], ["bob"]] * 2
    assert server.connections == 4


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_request_that_is_refused_halfway(asynchronous: bool) -> None:
    """On a fresh connection the answer can be meant for nobody else, and the request was not whole."""
    large = [Record("human", {"content": "x" * 4_000_000})]
    with _refusing_halfway() as url, Store(url, "t", timeout=5, retries=0) as store:
        session = store.session("bob")
        with pytest.raises(RequestTooLarge) as caught:
            asyncio.run(session.aappend(large)) if asynchronous else session.append(large)
    assert caught.value.applied is Applied.NO


@contextmanager
def _refusing_halfway() -> Iterator[str]:
    """A server that reads the beginning of a request and answers that it is too large."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                answer(listener.accept()[0])

    def answer(client: socket.socket) -> None:
        with client:
            client.recv(1000)
            client.sendall(_reply(b'{"error": "ERR too large"}', "connection: close", status="413 Content Too Large"))
            while client.recv(65536):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
