"""Connections: how long one is used again, proxies, TLS, and what a fork leaves alone."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from langchain_core.messages import HumanMessage

from chatstash import ConnectionFailed, Store, UpstashRedisChatMessageHistory
from chatstash.rest import deadline
from chatstash.rest.http.asyncio_io import RequestScope
from tests.conftest import Call
from tests.faulty import Exchange, FaultyServer, read_request

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


@pytest.mark.parametrize(("idle", "connections"), [(0, 1), (14, 1), (16, 2), (-60, 2), (86_400, 2)])
def test_a_connection_idle_for_long_is_not_used_again(
    faulty: Start, wall_clock: _Clock, idle: float, connections: int
) -> None:
    server = faulty(_empty)
    history = UpstashRedisChatMessageHistory("s", server.url, "t")
    assert history.messages == []
    wall_clock.ahead = idle
    assert history.messages == []
    assert server.connections == connections


@pytest.mark.parametrize(("idle", "connections"), [(0, 1), (0.5, 1), (16, 2), (-60, 2), (86_400, 2)])
def test_a_loops_connections_are_not_used_again_after_a_freeze(
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


def test_a_request_under_way_survives_the_change_to_fresh_connections(faulty: Start, wall_clock: _Clock) -> None:
    def slow(exchange: Exchange) -> None:
        exchange.wait(0.5 if b"slow" in exchange.request else 0)
        _empty(exchange)

    server = faulty(slow)

    async def use() -> None:
        under_way = asyncio.create_task(UpstashRedisChatMessageHistory("slow", server.url, "t").aget_messages())
        await asyncio.sleep(0.2)
        wall_clock.ahead = 20
        assert await UpstashRedisChatMessageHistory("fast", server.url, "t").aget_messages() == []
        assert await under_way == []

    asyncio.run(use())
    assert len(server.requests) == 2


def test_a_connection_the_server_closed_meanwhile_is_noticed(faulty: Start, call: Call) -> None:
    def handler(exchange: Exchange) -> None:
        exchange.reply(b'{"result": []}')
        exchange.hang_up()

    server = faulty(handler)
    with Store(server.url, "t") as store:

        async def twice() -> None:
            await store.session("s").aread()
            await asyncio.sleep(0.2)
            await store.session("s").aread()
            await store.aclose()

        if call.__name__ == "call_async":
            asyncio.run(twice())
        else:
            store.session("s").read()
            time.sleep(0.2)
            store.session("s").read()
    assert server.connections == 2


def test_what_the_server_takes_in_is_a_sign_of_it(faulty: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    signs = []

    def extend(scope: RequestScope) -> None:
        signs.append(scope)

    monkeypatch.setattr(RequestScope, "extend", extend)

    async def main(server: FaultyServer) -> None:
        history = UpstashRedisChatMessageHistory("s", server.url, "t")
        await history.aadd_messages([HumanMessage("x" * 2_000_000)])

    asyncio.run(main(faulty(lambda exchange: exchange.reply(b'{"result": 1}'))))
    assert len(signs) > 2_000_000 / 2**16


def test_a_connect_that_hangs_ends_after_the_connect_timeout(monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    for name in ("chatstash.rest.http.pool", "chatstash.rest.http.asyncio_pool"):
        monkeypatch.setattr(f"{name}.CONNECT_TIMEOUT", 0.5)
    assert deadline.CONNECT_TIMEOUT == 5
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        # A listener whose queue is full lets further connections wait.
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(address)
        history = UpstashRedisChatMessageHistory("s", f"http://127.0.0.1:{address[1]}", "t", timeout=20, retries=0)
        began = time.monotonic()
        with pytest.raises(TimeoutError, match="connection") as caught:
            call(history, "clear")
        assert 0.3 < time.monotonic() - began < 15
        assert caught.value.applied.name == "NO"
        for client in waiting:
            client.close()


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


@pytest.mark.parametrize("no_proxy", ["127.0.0.1", "*", "example.com,127.0.0.1"])
def test_no_proxy_is_honoured(faulty: Start, call: Call, clean_proxies: pytest.MonkeyPatch, no_proxy: str) -> None:
    server, proxy = faulty(_empty), faulty(_empty)
    clean_proxies.setenv("HTTP_PROXY", proxy.url)
    clean_proxies.setenv("NO_PROXY", no_proxy)
    call(UpstashRedisChatMessageHistory("s", server.url, "t"), "read")
    assert (len(server.requests), len(proxy.requests)) == (1, 0)


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
def test_https_goes_through_a_tunnel_and_one_that_is_refused_is_not_sent(
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


def test_a_proxy_of_another_kind_is_refused_with_a_word_on_what_to_do(
    call: Call, clean_proxies: pytest.MonkeyPatch
) -> None:
    clean_proxies.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    with pytest.raises(ValueError, match="NO_PROXY"):
        call(Store("https://redis.example.internal", "t").session("s"), "read")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and key for 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "chatstash tests")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + private)
    return path


@pytest.fixture
def tls_url(certificate: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(plain,), daemon=True).start()

    def answer(plain: socket.socket) -> None:
        try:
            with context.wrap_socket(plain, server_side=True) as client:
                while read_request(client):
                    client.sendall(
                        b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 14\r\n\r\n{"result": []}'
                    )
        except OSError:
            plain.close()

    threading.Thread(target=serve, daemon=True).start()
    yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_tls_with_the_certificates_of_the_environment(
    tls_url: str, certificate: Path, call: Call, clean_proxies: pytest.MonkeyPatch
) -> None:
    clean_proxies.setenv("SSL_CERT_FILE", str(certificate))
    store = Store(tls_url, "t")
    assert call(store.session("s"), "read").records == []
    store.close()


def test_a_certificate_nobody_vouches_for_is_refused_before_anything_is_sent(
    tls_url: str, call: Call, clean_proxies: pytest.MonkeyPatch
) -> None:
    clean_proxies.delenv("SSL_CERT_FILE", raising=False)
    clean_proxies.delenv("SSL_CERT_DIR", raising=False)
    with pytest.raises(ConnectionFailed) as caught:
        call(Store(tls_url, "t", retries=0).session("s"), "clear")
    assert caught.value.applied.name == "NO"


def test_certificates_that_cannot_be_read_are_named(call: Call, clean_proxies: pytest.MonkeyPatch) -> None:
    clean_proxies.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    with pytest.raises(ValueError, match="SSL_CERT_FILE"):
        call(Store("https://127.0.0.1:1", "t").session("s"), "read")
