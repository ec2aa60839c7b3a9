"""Hostile and odd HTTP: a 4xx or a closed connection, never a traceback to the client, never a hang of others."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import pytest

from chatstash.local import LocalUpstash
from chatstash.local.http.connection import HttpConnection
from chatstash.local.http.messages import HttpResponse
from tests.cli.support import serving
from tests.local.client import Client, connected, raw_request, read_all, replies_to, statuses


@pytest.fixture(autouse=True)
def others_are_served(upstash: LocalUpstash) -> Iterator[None]:
    """Whatever a test does, another client is answered before and after."""
    assert Client(upstash).run("PING") == "PONG"
    yield
    assert Client(upstash).run("PING") == "PONG"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"garbage\r\n\r\n", 405),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 405),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET /\x01 HTTP/1.1\r\n\r\n", 400),
        (b"FLY / HTTP/1.1\r\nhost: x\r\n\r\n", 405),
        (b"DELETE /?_token=TOKEN HTTP/1.1\r\nhost: x\r\n\r\n", 405),
        (b"POST / HTTP/1.1\r\ncontent-length: abc\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST /?_token=TOKEN HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nbad header\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\na: b\r\n c: d\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nauthorization: Bearer \x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", 401),
        (b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", 401),
        (b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer TOKEN\r\n\r\n", 405),
        (b"GET /%ff%00 HTTP/1.1\r\nhost: x\r\n\r\n", 401),
        (b"GET " + b"/a" * 100_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nx: " + b"a" * 200_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"x: 1\r\n" * 30_000 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nx: " + b"a" * 600_000, 431),
    ],
    ids=range(21),
)
def test_what_is_no_request_is_refused_and_the_connection_ends(upstash: LocalUpstash, data: bytes, status: int) -> None:
    answer = replies_to(upstash, data.replace(b"TOKEN", upstash.token.encode()))
    assert statuses(answer)[:1] == [status]
    assert b"Traceback" not in answer
    assert b'{"error":"' in answer


def test_a_target_with_the_address_before_it(upstash: LocalUpstash) -> None:
    answer = replies_to(upstash, raw_request(upstash, b"", line="GET http://x:1/echo/hi?_token=t HTTP/1.1"))
    assert answer.endswith(b'{"result":"hi"}')


def test_a_request_that_is_never_finished_leaves_nothing(upstash: LocalUpstash) -> None:
    assert replies_to(upstash, b"POST / HTTP/1.1\r\nhost: x\r\nconte") == b""
    assert replies_to(upstash, raw_request(upstash)[:-3]) == b""
    assert replies_to(upstash, b"") == b""


def test_a_body_that_is_too_large_is_refused(upstash: LocalUpstash, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatstash.local.http.request_parser.MAX_BODY_BYTES", 1000)
    answer = replies_to(upstash, raw_request(upstash, body=b'["ECHO","' + b"x" * 2000 + b'"]'))
    assert statuses(answer) == [413]


def test_pipelined_requests_are_answered_in_order(upstash: LocalUpstash) -> None:
    requests = [raw_request(upstash, b'["ECHO","number %d"]' % number) for number in range(200)]
    answer = replies_to(upstash, b"".join(requests))
    assert statuses(answer) == [200] * 200
    positions = [answer.index(b'"number %d"' % number) for number in range(200)]
    assert positions == sorted(positions)


def test_a_bad_request_behind_good_ones_does_not_spoil_them(upstash: LocalUpstash) -> None:
    good = raw_request(upstash)
    assert statuses(replies_to(upstash, good + good + b"garbage\r\n\r\n" + good)) == [200, 200, 405]


def test_a_request_that_comes_byte_by_byte(upstash: LocalUpstash) -> None:
    answer = replies_to(upstash, *[bytes([byte]) for byte in raw_request(upstash)])
    assert statuses(answer) == [200]


def test_a_chunked_body(upstash: LocalUpstash) -> None:
    head = raw_request(upstash, b"").replace(b"content-length: 0", b"transfer-encoding: chunked")
    answer = replies_to(upstash, head, b'3\r\n["E\r\n', b'9\r\nCHO","x"]\r\n', b"0\r\nx-trailer: y\r\n\r\n")
    assert statuses(answer) == [200]
    assert b'{"result":"x"}' in answer


def test_a_client_that_asks_before_it_sends_its_body(upstash: LocalUpstash) -> None:
    request = raw_request(upstash, headers="expect: 100-continue\r\n")
    head, body = request[: -len(b'["PING"]')], b'["PING"]'
    with connected(upstash) as client:
        client.sendall(head)
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body)
        assert statuses(client.recv(1000)) == [200]


def test_http_1_0_and_connection_close_end_the_connection(upstash: LocalUpstash) -> None:
    for request in (
        raw_request(upstash, line="POST / HTTP/1.0"),
        raw_request(upstash, headers="connection: close\r\n"),
        raw_request(upstash, headers="connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: x\r\n"),
        raw_request(upstash, headers="connection: close\r\n") * 3,
    ):
        with connected(upstash) as client:
            client.sendall(request)
            answer = read_all(client)
            assert statuses(answer) == [200]
            assert b"connection: close" in answer


def test_head_has_no_body_and_the_connection_goes_on(upstash: LocalUpstash) -> None:
    answer = replies_to(upstash, raw_request(upstash, b"", line="HEAD /echo/hi HTTP/1.1") + raw_request(upstash))
    assert statuses(answer) == [200, 200]
    assert answer.count(b"\r\n\r\n") == 2
    assert b"hi" not in answer
    assert answer.endswith(b'{"result":"PONG"}')


def test_nothing_a_client_sends_becomes_a_header(upstash: LocalUpstash) -> None:
    answer = replies_to(upstash, raw_request(upstash, b"", line="GET /echo/a%0d%0aset-cookie:%20x HTTP/1.1"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"set-cookie" not in head
    assert body == b'{"result":"a\\r\\nset-cookie: x"}'
    answer = replies_to(upstash, raw_request(upstash, b"", line="GET /no%0d%0aset-cookie:%20x HTTP/1.1"))
    assert b"set-cookie" not in answer.partition(b"\r\n\r\n")[0]


def test_who_leaves_in_the_middle_of_a_reply_harms_nobody(upstash: LocalUpstash) -> None:
    Client(upstash).run("SET", "large", "x" * 9_000_000)
    for _ in range(20):
        with connected(upstash) as client:
            client.sendall(raw_request(upstash, b'["GET","large"]'))
            client.recv(10)


def test_a_thousand_idle_connections() -> None:
    with serving("--token", "t") as (_, variables), contextlib.ExitStack() as closing:
        code = (
            "import resource, socket, sys\n"
            "resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)\n"
            "kept = [socket.create_connection(('127.0.0.1', int(sys.argv[1]))) for _ in range(1000)]\n"
            "print('connected', flush=True)\n"
            "sys.stdin.read()\n"
        )
        port = variables["UPSTASH_REDIS_REST_URL"].rsplit(":", 1)[1]
        holder = closing.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", code, port], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        )
        assert holder.stdout is not None
        assert holder.stdout.readline() == "connected\n"
        with socket.create_connection(("127.0.0.1", int(port)), timeout=60) as client:
            client.sendall(
                b'POST / HTTP/1.1\r\nhost: x\r\nauthorization: Bearer t\r\ncontent-length: 8\r\n\r\n["PING"]'
            )
            assert statuses(client.recv(1000)) == [200]


def test_many_at_once_while_others_misbehave(upstash: LocalUpstash) -> None:
    stop = threading.Event()

    def misbehave() -> None:
        while not stop.is_set():
            for data in (b"garbage\r\n\r\n", raw_request(upstash)[:-1], b"", b"[" * 5000):
                with contextlib.suppress(OSError):
                    replies_to(upstash, data)

    troublemakers = [threading.Thread(target=misbehave) for _ in range(3)]
    for thread in troublemakers:
        thread.start()
    try:
        client = Client(upstash)
        for number in range(300):
            assert client.run("ECHO", str(number)) == str(number)
    finally:
        stop.set()
        for thread in troublemakers:
            thread.join()


# Who has no token.


def without_token(length: int, headers: str = "") -> bytes:
    head = f"POST / HTTP/1.1\r\nhost: x\r\nauthorization: Bearer wrong\r\n{headers}content-length: {length}\r\n\r\n"
    return head.encode()


@pytest.mark.parametrize("headers", ["", "expect: 100-continue\r\n", "connection: upgrade\r\nupgrade: h2c\r\n"])
def test_the_token_is_looked_at_before_the_body(upstash: LocalUpstash, headers: str) -> None:
    # Not one byte of the gigabyte is sent, and none is waited for.
    with connected(upstash) as client:
        client.sendall(without_token(10**9, headers))
        assert statuses(client.recv(4096)) == [401]
    assert [(entry.status, entry.bytes_received) for entry in upstash.log[1:]] == [(401, 0)]


def test_nothing_is_kept_of_a_body_without_a_token() -> None:
    async def held() -> tuple[int, bytes]:
        written = bytearray()
        transport = Mock(is_closing=lambda: False, write=written.extend)
        connection = HttpConnection(Mock(admit=lambda _: HttpResponse(401, b"{}")), set())
        connection.connection_made(transport)
        connection.data_received(without_token(10**9) + b"x" * 100_000)
        for _ in range(1000):
            connection.data_received(b"x" * 100_000)
        await asyncio.sleep(0)
        return sum(map(len, connection._parser._body)), bytes(written)

    kept, written = asyncio.run(held())
    assert kept == 0
    assert statuses(written) == [401]


def _send_without_token(url: str, headers: str, size: int) -> tuple[int, bytes]:
    """Send a request without a token, and go on after it was answered; returns the bytes sent and the answer."""
    host, port = url.removeprefix("http://").rsplit(":", 1)
    piece, sent, answer = memoryview(bytes(2**20)), 0, b""
    with socket.create_connection((host, int(port)), timeout=60) as client, contextlib.suppress(ConnectionError):
        client.sendall(f"POST / HTTP/1.1\r\nhost: x\r\n{headers}\r\n\r\n".encode())
        client.setblocking(False)
        while sent < size:
            readable, writable, _ = select.select([] if answer else [client], [client], [], 60)
            if readable:
                answer = client.recv(65536)
            if writable:
                sent += client.send(piece[: size - sent])
        client.setblocking(True)
        answer = answer or client.recv(65536)
    return sent, answer


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of memory is read from /proc")
@pytest.mark.parametrize("variable", ["UPSTASH_REDIS_REST_URL", "CHATSTASH_CONTROL_URL"])
@pytest.mark.parametrize(
    "headers",
    [
        f"content-length: {10**8}",
        f"authorization: Bearer wrong\r\ncontent-length: {10**8}",
        f"transfer-encoding: chunked\r\n\r\n{10**8:x}",  # the first chunk's length after the head
    ],
    ids=["no token", "a wrong token", "chunks"],
)
def test_bodies_without_a_token_take_no_memory(variable: str, headers: str) -> None:
    with serving() as (process, variables), ThreadPoolExecutor(6) as clients:
        before = _peak_memory(process.pid)
        done = list(clients.map(lambda _: _send_without_token(variables[variable], headers, 10**8), range(6)))
        grown = _peak_memory(process.pid) - before
    assert grown < 20_000_000
    assert [statuses(answer) for _, answer in done] == [[401]] * 6
    assert all(sent > 0 for sent, _ in done)


def _peak_memory(process: int) -> int:
    """Return the most memory that a process has had so far, in bytes."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def test_a_head_without_a_token_is_answered_without_a_body(upstash: LocalUpstash) -> None:
    answer = replies_to(upstash, b"HEAD /ping HTTP/1.1\r\nhost: x\r\n\r\n")
    assert statuses(answer) == [401]
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("trailer", ["wrong", "TOKEN"])
def test_a_trailer_is_no_header(upstash: LocalUpstash, trailer: str) -> None:
    first = "wrong" if trailer == "TOKEN" else "TOKEN"
    request = (
        f"POST / HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {first}\r\ntransfer-encoding: chunked\r\n\r\n"
        f'8\r\n["PING"]\r\n0\r\nauthorization: Bearer {trailer}\r\n\r\n'
    ).replace("TOKEN", upstash.token)
    assert statuses(replies_to(upstash, request.encode())) == [401 if first == "wrong" else 200]
