"""TCP servers that misbehave on purpose, for faults a real server cannot be asked for."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Handler = Callable[["Exchange"], None]


@dataclass
class FaultyServer:
    """A server that hands each request to a handler, and counts what came."""

    listener: socket.socket
    handler: Handler
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def accept(self) -> None:
        while not self.closing.is_set():
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            while request := read_request(client):
                self.requests.append(request)
                self.handler(Exchange(client, request, self))


@dataclass
class Exchange:
    """One request, and the connection to answer it on."""

    client: socket.socket
    request: bytes
    server: FaultyServer

    def send(self, data: bytes) -> None:
        self.client.sendall(data)

    def reply(
        self, body: bytes, status: str = "200 OK", content_type: str = "application/json", headers: str = ""
    ) -> None:
        head = f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n{headers}\r\n"
        self.send(head.encode("latin-1") + body)

    def hang_up(self) -> None:
        self.client.shutdown(socket.SHUT_RDWR)

    def wait(self, seconds: float) -> None:
        """Wait, but not longer than the test lasts."""
        self.server.closing.wait(seconds)

    def drip(self, data: bytes, pause: float) -> None:
        for byte in data:
            if self.server.closing.is_set():
                return
            self.send(bytes([byte]))
            time.sleep(pause)


def read_request(client: socket.socket) -> bytes:
    """Return one whole HTTP request with a content-length, or what there was before the connection ended."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(65536)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    missing = (lengths[0] if lengths else 0) - len(body)
    while missing > 0:
        more = client.recv(65536)
        if not more:
            return b""
        data += more
        missing -= len(more)
    return data


@contextmanager
def serve_faulty() -> Iterator[Callable[[Handler], FaultyServer]]:
    servers: list[FaultyServer] = []

    def start(handler: Handler) -> FaultyServer:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        server = FaultyServer(listener, handler)
        servers.append(server)
        threading.Thread(target=server.accept, daemon=True).start()
        return server

    try:
        yield start
    finally:
        for server in servers:
            server.closing.set()
            with contextlib.suppress(OSError):
                server.listener.shutdown(socket.SHUT_RDWR)
            server.listener.close()


@contextmanager
def full_listener() -> Iterator[int]:
    """A port whose queue is full: further connections wait."""
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        yield full.getsockname()[1]
