"""Connections: how long one is reused, and which proxy it takes."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from collections.abc import Callable

import pytest
from langchain_core.messages import HumanMessage

from chatstash import ConnectionFailed, Store, UpstashRedisChatMessageHistory
from chatstash.rest import deadline
from chatstash.rest.http.asyncio_io import RequestScope, RequestSlots
from tests.conftest import Call
from tests.faulty import Exchange, FaultyServer, full_listener

Start = Callable[..., FaultyServer]


def _empty(exchange: Exchange) -> None:
    exchange.reply(b'{"result": []}')


class _Clock:
    """A wall clock that can be moved, as it jumps when a frozen function is thawed."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._time = time.time

    def __call__(self) -> float:
        return self._time() + self.ahead


@pytest.fixture
def wall_clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr(time, "time", clock)
    return clock


@pytest.mark.parametrize(("idle", "connections"), [(0, 1), (16, 2), (-60, 2)])
def test_a_connection_that_was_idle_for_long_is_not_reused(
    faulty: Start, wall_clock: _Clock, idle: float, connections: int
) -> None:
    server = faulty(_empty)
    history = UpstashRedisChatMessageHistory("s", server.url, "t")
    assert history.messages == []
    wall_clock.ahead = idle
    assert history.messages == []
    assert server.connections == connections


@pytest.mark.parametrize(("idle", "connections"), [(0, 1), (16, 2)])
def test_a_loops_connections_are_not_reused_after_a_freeze(
    faulty: Start, wall_clock: _Clock, idle: float, connections: int
) -> None:
    server = faulty(_empty)

    async def use() -> None:
        history = UpstashRedisChatMessageHistory("s", server.url, "t")
        await history.aget_messages()
        wall_clock.ahead = idle
        await history.aget_messages()
        await history.aget_messages()

    asyncio.run(use())
    assert server.connections == connections


def test_a_request_in_flight_survives_a_freeze(faulty: Start, wall_clock: _Clock) -> None:
    arrived, thawed = threading.Event(), threading.Event()

    def handler(exchange: Exchange) -> None:
        if b"slow" in exchange.request:
            arrived.set()
            thawed.wait(60)
        _empty(exchange)

    server = faulty(handler)

    async def use() -> None:
        in_flight = asyncio.create_task(UpstashRedisChatMessageHistory("slow", server.url, "t").aget_messages())
        assert await asyncio.to_thread(arrived.wait, 60)
        wall_clock.ahead = 20
        assert await UpstashRedisChatMessageHistory("fast", server.url, "t").aget_messages() == []
        thawed.set()
        assert await in_flight == []

    asyncio.run(use())
    assert len(server.requests) == 2


def test_a_connection_that_the_server_closed_meanwhile_is_noticed(faulty: Start, call: Call) -> None:
    closed = threading.Event()

    def handler(exchange: Exchange) -> None:
        _empty(exchange)
        exchange.hang_up()
        closed.set()

    server = faulty(handler)
    with Store(server.url, "t", retries=0) as store:

        async def twice() -> None:
            await store.session("s").aread()
            assert closed.wait(60)
            await store.session("s").aread()
            await store.aclose()

        if call.__name__ == "call_async":
            asyncio.run(twice())
        else:
            store.session("s").read()
            assert closed.wait(60)
            store.session("s").read()
    assert server.connections == 2


def test_a_server_that_accepts_bytes_is_not_silent(faulty: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    extended = []

    def extend(scope: RequestScope) -> None:
        extended.append(scope)

    monkeypatch.setattr(RequestScope, "extend", extend)

    async def main(server: FaultyServer) -> None:
        history = UpstashRedisChatMessageHistory("s", server.url, "t")
        await history.aadd_messages([HumanMessage("x" * 2_000_000)])

    asyncio.run(main(faulty(lambda exchange: exchange.reply(b'{"result": 1}'))))
    assert len(extended) > 2_000_000 / 2**16


def test_a_connect_that_hangs_ends_after_the_connect_timeout(monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    """Long before the operation's own deadline, which this test would not live to see."""
    for name in ("chatstash.rest.http.pool", "chatstash.rest.http.asyncio_pool"):
        monkeypatch.setattr(f"{name}.CONNECT_TIMEOUT", 0.2)
    assert deadline.CONNECT_TIMEOUT == 5
    with full_listener() as port:
        history = UpstashRedisChatMessageHistory("s", f"http://127.0.0.1:{port}", "t", timeout=1000, retries=0)
        with pytest.raises(TimeoutError, match="connection") as caught:
            call(history, "clear")
        assert caught.value.applied.name == "NO"


@pytest.fixture
def clean_proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


def test_a_proxy_is_used_with_its_credentials(faulty: Start, call: Call, clean_proxies: pytest.MonkeyPatch) -> None:
    proxy = faulty(_empty)
    clean_proxies.setenv("HTTP_PROXY", proxy.url.replace("http://", "http://ada:p%40ss@"))
    with pytest.warns(UserWarning, match="unencrypted"):
        store = Store("http://redis.example.internal", "t")
    call(store.session("s"), "read")
    store.close()
    (request,) = proxy.requests
    assert request.startswith(b"POST http://redis.example.internal/ HTTP/1.1\r\n")
    assert base64.b64encode(b"ada:p@ss") in request


def test_no_proxy_is_honoured(faulty: Start, clean_proxies: pytest.MonkeyPatch) -> None:
    server, proxy = faulty(_empty), faulty(_empty)
    clean_proxies.setenv("HTTP_PROXY", proxy.url)
    clean_proxies.setenv("NO_PROXY", "example.com,127.0.0.1")
    UpstashRedisChatMessageHistory("s", server.url, "t").read()
    assert (len(server.requests), len(proxy.requests)) == (1, 0)


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
def test_nothing_is_sent_if_a_proxy_refuses_the_tunnel(
    faulty: Start, call: Call, clean_proxies: pytest.MonkeyPatch, variable: str
) -> None:
    proxy = faulty(lambda exchange: exchange.reply(b"", "407 Proxy Authentication Required"))
    clean_proxies.setenv(variable, proxy.url)
    store = Store("https://redis.example.internal", "secret-token", retries=0)
    with pytest.raises(ConnectionFailed) as caught:
        call(store.session("s"), "clear")
    assert caught.value.applied.name == "NO"
    (request,) = proxy.requests
    assert request.startswith(b"CONNECT redis.example.internal:443")
    assert b"secret-token" not in request


def test_an_unsupported_proxy_is_refused_with_advice(call: Call, clean_proxies: pytest.MonkeyPatch) -> None:
    clean_proxies.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    with pytest.raises(ValueError, match="NO_PROXY"):
        call(Store("https://redis.example.internal", "t").session("s"), "read")


def test_certificates_that_cannot_be_read_are_named(call: Call, clean_proxies: pytest.MonkeyPatch) -> None:
    clean_proxies.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    with pytest.raises(ValueError, match="SSL_CERT_FILE"):
        call(Store("https://127.0.0.1:1", "t").session("s"), "read")


def test_a_request_cancelled_just_when_its_turn_came_passes_it_on() -> None:
    async def use() -> None:
        slots = RequestSlots(1)
        await slots.__aenter__()
        cancelled, next_one = (asyncio.create_task(slots.__aenter__()) for _ in range(2))
        await asyncio.sleep(0)
        await slots.__aexit__()
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        async with asyncio.timeout(60):
            await next_one
        await slots.__aexit__()
        assert not slots.all_taken

    asyncio.run(use())


def test_a_request_cancelled_while_it_waits_takes_no_turn() -> None:
    async def use() -> None:
        slots = RequestSlots(1)
        await slots.__aenter__()
        waiting = asyncio.create_task(slots.__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await slots.__aexit__()
        assert not slots.all_taken

    asyncio.run(use())
