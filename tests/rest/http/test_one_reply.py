"""One reply, one request: no reply reaches a request that it does not answer, whatever a server or a proxy sends.

Two conversations are read in turn through one store. Each reply names its conversation. `test_framing.py` has the many
forms of a reply; here a few go through both shells.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from chatstash import Applied, DatabaseError, Record, RequestTimeout, RequestTooLarge, Session, Store
from tests.conftest import Call
from tests.faulty import Exchange, FaultyServer

Start = Callable[..., FaultyServer]
Attack = Callable[[Exchange, bytes], None]
NAMES = ("alice", "bob")


def _body(name: str) -> bytes:
    return b'{"result": ["{\\"type\\":\\"human\\",\\"data\\":{\\"content\\":\\"%b\\"}}"]}' % name.encode()


def _reply(body: bytes, *lines: bytes) -> bytes:
    head = (b"HTTP/1.1 200 OK", b"content-length: %d" % len(body), *lines)
    return b"\r\n".join((*head, b"", body))


OTHER = _reply(_body("mallory"))
HINTS = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n"


def _cut_off(exchange: Exchange, body: bytes) -> None:
    exchange.send(_reply(body)[:-1])
    exchange.hang_up()


def _without_end(exchange: Exchange, body: bytes) -> None:
    while not exchange.server.closing.is_set():
        exchange.send(b"HTTP/1.1 200 OK\r\nx: " + b"x" * 10_000)


def _encoded(coding: bytes) -> Attack:
    """A reply that says it is compressed; the body is what it would unfold to, so only the header can be refused."""
    return lambda exchange, body: exchange.send(_reply(body, b"content-encoding: " + coding))


# The connections that four reads take.
READ: dict[str, tuple[Attack, int]] = {
    "a plain reply": (lambda exchange, body: exchange.send(_reply(body)), 1),
    "early hints": (lambda exchange, body: exchange.send(HINTS + _reply(body)), 4),
    "close": (lambda exchange, body: exchange.send(_reply(body, b"connection: close")), 4),
}
REFUSED: dict[str, Attack] = {
    "two replies at once": lambda exchange, body: exchange.send(_reply(body) + OTHER),
    "an end too early": _cut_off,
    "a head without end": _without_end,
    **{
        f"content-encoding: {coding.decode()}": _encoded(coding)
        for coding in (b"gzip", b"br", b"x-gzip", b"deflate", b"GZIP", b"identity, gzip", b"gzip, identity")
    },
}
LATER = {"a second reply": OTHER, "an interim reply": HINTS, "a line end": b"\r\n", "an end": b""}


def _serve(faulty: Start, attack: Attack) -> FaultyServer:
    def handle(exchange: Exchange) -> None:
        name = next(name for name in NAMES if f"message_store:{name}".encode() in exchange.request)
        attack(exchange, _body(name))

    return faulty(handle)


def _read_in_turn(call: Call, sessions: list[Session], before: Callable[[], object] = bool) -> list[Any]:
    """Read sessions one after another, in one loop; returns the contents or errors. Calls `before` before each."""
    if call.__name__ == "call_sync":
        return [(before(), _outcome(session))[1] for session in sessions]

    async def use() -> list[Any]:
        return [(before(), await _aoutcome(session))[1] for session in sessions]

    return asyncio.run(use())


def _sessions(store: Store) -> list[Session]:
    return [store.session(name) for name in NAMES * 2]


def _outcome(session: Session) -> Any:
    try:
        return [record.data["content"] for record in session.read().records]
    except DatabaseError as error:
        return error


async def _aoutcome(session: Session) -> Any:
    try:
        return [record.data["content"] for record in (await session.aread()).records]
    except DatabaseError as error:
        return error


@pytest.mark.parametrize("name", READ)
def test_what_is_read(faulty: Start, call: Call, name: str) -> None:
    attack, connections = READ[name]
    server = _serve(faulty, attack)
    with Store(server.url, "t", retries=0) as store:
        assert _read_in_turn(call, _sessions(store)) == [["alice"], ["bob"]] * 2
    assert server.connections == connections


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(faulty: Start, call: Call, name: str) -> None:
    server = _serve(faulty, REFUSED[name])
    with Store(server.url, "t", retries=0) as store:
        outcomes = _read_in_turn(call, _sessions(store))
    assert all(isinstance(outcome, DatabaseError) for outcome in outcomes), outcomes
    assert server.connections == 4


@pytest.mark.parametrize("name", LATER)
def test_what_comes_after_a_reply_was_read(faulty: Start, call: Call, name: str) -> None:
    """It is there before the next request begins, which then takes another connection."""
    was_read, has_come = threading.Event(), threading.Event()

    def more(exchange: Exchange, body: bytes) -> None:
        exchange.send(_reply(body))
        was_read.wait(60)
        was_read.clear()
        exchange.send(LATER[name])
        if name == "an end":
            exchange.hang_up()
        has_come.set()

    def before() -> None:
        if server.requests:
            was_read.set()
            assert has_come.wait(60)
            has_come.clear()

    server = _serve(faulty, more)
    with Store(server.url, "t", retries=0) as store:
        outcomes = _read_in_turn(call, _sessions(store), before)
        was_read.set()
    for outcome, expected in zip(outcomes, NAMES * 2, strict=True):
        assert isinstance(outcome, DatabaseError) or outcome == [expected]
    assert server.connections == 4


def test_a_reply_that_comes_too_late_answers_nobody(faulty: Start, call: Call) -> None:
    gave_up = threading.Event()

    def late(exchange: Exchange, body: bytes) -> None:
        if b"alice" in body:
            gave_up.wait(60)
        exchange.send(_reply(body))

    def before() -> None:
        if server.requests:
            gave_up.set()

    server = _serve(faulty, late)
    with Store(server.url, "t", retries=0) as store:
        sessions = [store.session("alice", timeout=0.2), store.session("bob")]
        first, second = _read_in_turn(call, sessions, before)
    assert isinstance(first, RequestTimeout)
    assert second == ["bob"]


def test_a_request_that_is_refused_while_it_is_sent(call: Call) -> None:
    """The server reads no further, so that the request is never sent whole; its answer is heard nevertheless."""
    large = [Record("human", {"content": "x" * 9_000_000})]
    with _refusing_early() as url, Store(url, "t", retries=0) as store, pytest.raises(RequestTooLarge) as caught:
        call(store.session("bob"), "append", large)
    assert caught.value.applied is Applied.NO


class _UnwatchingLoop(asyncio.SelectorEventLoop):
    """A loop without add_reader, as Windows' ProactorEventLoop."""

    def add_reader(self, *args: Any) -> None:
        raise NotImplementedError


def test_a_refusal_is_heard_in_a_loop_that_cannot_watch_sockets() -> None:
    large = [Record("human", {"content": "x" * 9_000_000})]
    with (
        _refusing_early() as url,
        Store(url, "t", retries=0) as store,
        asyncio.Runner(loop_factory=_UnwatchingLoop) as runner,
        pytest.raises(RequestTooLarge),
    ):
        runner.run(store.session("bob").aappend(large))


@contextmanager
def _refusing_early() -> Iterator[str]:
    """A server that reads the beginning of a request, answers that it is too large, and reads no further."""
    body = b'{"error": "ERR too large"}'
    with socket.socket() as listener, contextlib.ExitStack() as clients:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def serve() -> None:
            with contextlib.suppress(OSError):
                client = clients.enter_context(listener.accept()[0])
                client.recv(1000)
                client.sendall(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
