"""Talking to the local server with nothing of chatstash between."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import urllib3

from chatstash.local import LocalUpstash


class Client:
    """Sends requests with a token."""

    def __init__(self, upstash: LocalUpstash, token: str | None = None) -> None:
        self.upstash = upstash
        self.token = upstash.token if token is None else token
        self.pool = urllib3.PoolManager(retries=False)

    def send(self, path: str, body: Any, method: str = "POST", token: str | None = None, **headers: str) -> Any:
        token = self.token if token is None else token
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {
            "authorization": f"Bearer {token}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return self.pool.request(method, self.upstash.url + path, body=data, headers=sent)

    def ask(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        reply = self.send(path, body, **headers)
        return reply.status, reply.json()

    def run(self, *words: str | int) -> Any:
        """Run one command; its result, or an assertion where it failed."""
        status, body = self.ask("/", list(words))
        assert status == 200, body
        return body["result"]

    def error(self, *words: str | int) -> str:
        """Run one command that fails; its error."""
        status, body = self.ask("/", list(words))
        assert status == 400, body
        return str(body["error"])


@contextmanager
def connected(upstash: LocalUpstash) -> Iterator[socket.socket]:
    """Connect to a server on loopback."""
    host, port = upstash.url.removeprefix("http://").rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=60) as client:
        yield client


def raw_request(
    upstash: LocalUpstash, body: bytes = b'["PING"]', line: str = "POST / HTTP/1.1", headers: str = ""
) -> bytes:
    """Return the bytes of a request that is in order but for what is given."""
    head = f"{line}\r\nhost: x\r\nauthorization: Bearer {upstash.token}\r\n{headers}content-length: {len(body)}\r\n\r\n"
    return head.encode("latin-1") + body


def replies_to(upstash: LocalUpstash, *parts: bytes) -> bytes:
    """Send bytes, say that no more will come, and return all that comes back until the server closes."""
    with connected(upstash) as client:
        with contextlib.suppress(OSError):
            for part in parts:
                client.sendall(part)
            client.shutdown(socket.SHUT_WR)
        return read_all(client)


def read_all(client: socket.socket) -> bytes:
    data = b""
    while True:
        try:
            more = client.recv(65536)
        except ConnectionError:
            return data
        if not more:
            return data
        data += more


def statuses(data: bytes) -> list[int]:
    """Return the statuses of the replies in what came back."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]
