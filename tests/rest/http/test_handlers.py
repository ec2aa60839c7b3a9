"""Signal handlers that run during a request: their failures are not failures of the request."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from langchain_core.messages import HumanMessage

from chatstash import Applied, ConnectionFailed, OutcomeUnknown, UpstashRedisChatMessageHistory
from tests.faulty import Exchange, FaultyServer

Start = Callable[..., FaultyServer]
ONE = [HumanMessage("x")]


@contextmanager
def _interrupted_by(handle: Callable[[], None]) -> Iterator[Callable[[Exchange], None]]:
    """Give a server's handler that interrupts the main thread, and goes on when `handle` has run there."""
    main, done = threading.get_ident(), threading.Event()

    def on_signal(*_: object) -> None:
        try:
            handle()
        finally:
            done.set()

    def interrupt(_: Exchange) -> None:
        done.clear()
        signal.pthread_kill(main, signal.SIGUSR1)
        assert done.wait(60)

    before = signal.signal(signal.SIGUSR1, on_signal)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_handlers_failed_connection_says_nothing_of_the_request_it_interrupted(faulty: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        elsewhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
        failures = []

        def fail() -> None:
            with pytest.raises(ConnectionFailed) as caught:
                UpstashRedisChatMessageHistory("s", elsewhere, "t", retries=0).clear()
            failures.append(caught.value.applied)

        with _interrupted_by(fail) as interrupt:

            def lose(exchange: Exchange) -> None:
                interrupt(exchange)
                exchange.hang_up()

            server = faulty(lose)
            with pytest.raises(OutcomeUnknown) as caught:
                UpstashRedisChatMessageHistory("s", server.url, "t", retries=0).add_messages(ONE)
    assert (failures, caught.value.applied) == ([Applied.NO], Applied.UNKNOWN)
    assert len(server.requests) == 1


def test_a_handler_may_use_the_same_history(faulty: Start) -> None:
    within = []

    def answer(exchange: Exchange) -> None:
        if b"LPUSH" in exchange.request:
            interrupt(exchange)
            exchange.reply(b'{"result": 1}')
        else:
            exchange.reply(b'{"result": []}')

    history = UpstashRedisChatMessageHistory("s", faulty(answer).url, "t", retries=0)
    with _interrupted_by(lambda: within.append(history.messages)) as interrupt:
        for _ in range(3):
            history.add_messages(ONE)
    assert within == [[]] * 3


@pytest.mark.parametrize("kind", [TimeoutError, ValueError])
def test_what_a_handler_raises_is_no_failure_of_the_request(faulty: Start, kind: type[Exception]) -> None:
    """A soft time limit raises TimeoutError, say: it ends the operation, and is not tried again."""

    def limit() -> None:
        raise kind("the job's own limit")

    with _interrupted_by(limit) as interrupt:
        server = faulty(interrupt)
        with pytest.raises(kind, match="own limit"):
            UpstashRedisChatMessageHistory("s", server.url, "t", timeout=60).add_messages(ONE)
    assert len(server.requests) == 1
