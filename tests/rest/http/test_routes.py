"""Routes to a database: several addresses, names looked up once, tunnels, proxies over TLS."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chatstash import Applied, ConnectionFailed, DatabaseError, OutcomeUnknown, Record, Store
from chatstash.rest.http.sockets import interleaved, ip_literal
from tests.conftest import Call
from tests.faulty import Exchange, FaultyServer, full_listener
from tests.security.certificates import read_request, serving_tls, write_certificate

Start = Callable[..., FaultyServer]


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def _empty(exchange: Exchange) -> None:
    exchange.reply(b'{"result": []}')


def _resolves_to(monkeypatch: pytest.MonkeyPatch, *ports: int) -> list[object]:
    """Have every name stand for these ports of 127.0.0.1; returns what was looked up."""
    looked_up: list[object] = []

    def look_up(host: Any, *_: object, **__: object) -> list[Any]:
        looked_up.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return looked_up


def test_an_address_that_does_not_answer_holds_up_nobody(
    faulty: Start, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = faulty(_empty)
    with full_listener() as silent, socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))
        _resolves_to(monkeypatch, silent, refusing.getsockname()[1], server.listener.getsockname()[1])
        with Store("http://many.localhost", "t", retries=0) as store:
            assert call(store.session("s"), "read").records == []
    assert len(server.requests) == 1


def test_a_burst_looks_a_name_up_once(faulty: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server = faulty(_empty)
    looked_up = _resolves_to(monkeypatch, server.listener.getsockname()[1])

    async def burst() -> None:
        async with Store("http://one.localhost", "t") as store:
            await asyncio.gather(*(store.session(str(number)).aread() for number in range(50)))

    asyncio.run(burst())
    assert looked_up == ["one.localhost"]
    assert server.connections > 1


def test_families_take_turns() -> None:
    six, four = [(socket.AF_INET6, number) for number in range(3)], [(socket.AF_INET, number) for number in range(2)]
    assert interleaved([*six, *four]) == [six[0], four[0], six[1], four[1], six[2]]
    assert interleaved([]) == []


def test_an_address_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ip_literal("127.0.0.1", 5) == [(socket.AF_INET, ("127.0.0.1", 5))]
    assert ip_literal("::1", 5) == [(socket.AF_INET6, ("::1", 5))]
    assert ip_literal("localhost", 5) == ip_literal("1.2.3", 5) == []


ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@contextmanager
def _proxy(certificate: Path | None = None, answer: bytes = ESTABLISHED) -> Iterator[tuple[str, list[bytes]]]:
    """A proxy that opens tunnels; over TLS where it has a certificate. Gives its URL, and the heads it was sent."""
    heads: list[bytes] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if certificate:
        context.load_cert_chain(certificate)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=tunnel, args=(listener.accept()[0],), daemon=True).start()

    def tunnel(plain: socket.socket) -> None:
        with contextlib.suppress(OSError), plain, contextlib.ExitStack() as sockets:
            client = sockets.enter_context(context.wrap_socket(plain, server_side=True)) if certificate else plain
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += client.recv(1)
            heads.append(head)
            host, port = head.split()[1].decode().rsplit(":", 1)
            with socket.create_connection((host, int(port))) as server:
                client.sendall(answer)
                threading.Thread(target=pump, args=(server, client), daemon=True).start()
                pump(client, server)

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield f"{'https' if certificate else 'http'}://ada:p%40ss@127.0.0.1:{listener.getsockname()[1]}", heads


@pytest.mark.parametrize("secure", [False, True])
def test_through_a_tunnel(tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch, secure: bool) -> None:
    certificate = write_certificate(tmp_path / "tls.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving_tls(certificate) as server, _proxy(certificate if secure else None) as (url, heads):
        monkeypatch.setenv("HTTPS_PROXY", url)
        with Store(server.url, "secret-token", retries=0) as store:
            for _ in range(2):
                assert call(store.session("s"), "read").records == []
    assert [b"secret-token" in request for request in server.requests] == [True, True]
    assert all(head.startswith(b"CONNECT 127.0.0.1:") and b"YWRhOnBAc3M=" in head for head in heads)
    assert not any(b"secret-token" in head for head in heads)
    assert not any(b"proxy-authorization" in request.lower() for request in server.requests)


HINT = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
OPENED = {
    "interim replies before": CONTINUE + HINT + ESTABLISHED,
    "another 2xx": b"HTTP/1.1 204 Opened\r\n\r\n",
    "a length": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
    "chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n",
    "close": b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
}
NOT_OPENED = {
    "bytes after it": ESTABLISHED + b"x",
    "a body": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    "chunks and their body": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "another reply": ESTABLISHED * 2,
    "an interim reply after it": ESTABLISHED + HINT,
    "the beginning of TLS": ESTABLISHED + b"\x16\x03\x03",
    "other protocols": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\n\r\n" + ESTABLISHED,
    "an interim reply with a length": b"HTTP/1.1 103 Hints\r\ncontent-length: 0\r\n\r\n" + ESTABLISHED,
    "no HTTP": b"SSH-2.0-x\r\n\r\n",
}


@pytest.mark.parametrize("name", OPENED)
def test_what_opens_a_tunnel(tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    certificate = write_certificate(tmp_path / "tls.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving_tls(certificate) as server, _proxy(answer=OPENED[name]) as (url, _):
        monkeypatch.setenv("HTTPS_PROXY", url)
        with Store(server.url, "t", retries=0) as store:
            assert call(store.session("s"), "read").records == []


@pytest.mark.parametrize("name", NOT_OPENED)
def test_what_opens_no_tunnel(tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    certificate = write_certificate(tmp_path / "tls.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving_tls(certificate) as server, _proxy(answer=NOT_OPENED[name]) as (url, heads):
        monkeypatch.setenv("HTTPS_PROXY", url)
        with Store(server.url, "t", retries=0) as store:
            for _ in range(2):
                with pytest.raises(DatabaseError) as caught:
                    call(store.session("s"), "append", [Record("human", {"content": "x"})])
                assert caught.value.applied is Applied.NO
        assert server.requests == []
    assert len(heads) == 2


def _refuse_and_keep(listener: socket.socket, status: bytes, later: list[bytes]) -> None:
    with contextlib.suppress(OSError):
        while True:
            client = listener.accept()[0]
            with client:
                read_request(client)
                client.sendall(b"HTTP/1.1 %b\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nno" % status)
                later.append(client.recv(65536))


@pytest.mark.parametrize("status", [b"407 Proxy Authentication Required", b"503 Busy", b"302 Found", b"403 No"])
def test_a_proxy_that_opens_no_tunnel_is_sent_nothing_more(
    call: Call, monkeypatch: pytest.MonkeyPatch, status: bytes
) -> None:
    later: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_refuse_and_keep, args=(listener, status, later), daemon=True).start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{listener.getsockname()[1]}")
        with Store("https://db.example", "secret-token", retries=0) as store:
            for _ in range(3):
                with pytest.raises(ConnectionFailed, match="tunnel"):
                    call(store.session("s"), "read")
        listener.shutdown(socket.SHUT_RDWR)
    # Whoever is served by the same proxy gets a connection of its own.
    assert later[:2] == [b"", b""]


def test_a_large_request_over_tls(tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = write_certificate(tmp_path / "tls.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    large = [Record("human", {"content": "x" * 5_000_000})]
    # The server's one answer is none to an append.
    with serving_tls(certificate) as server, pytest.raises(OutcomeUnknown):
        call(Store(server.url, "t", retries=0).session("s"), "append", large)
    assert len(server.requests[0]) > 5_000_000


@pytest.mark.parametrize("whole", [True, False])
def test_a_body_up_to_the_end_must_end_as_tls_wants_it(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    """Whoever cuts a connection must not be able to shorten a reply."""
    certificate = write_certificate(tmp_path / "tls.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving_tls(certificate) as server, Store(server.url, "t", retries=0) as store:
        server.until_the_end = whole
        if whole:
            assert call(store.session("s"), "read").records == []
        else:
            with pytest.raises(ConnectionFailed):
                call(store.session("s"), "read")
