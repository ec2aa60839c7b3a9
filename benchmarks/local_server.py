"""A local Upstash in a process of its own, and a relay that counts the bytes that pass. Loopback only."""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

TOKEN = "benchmark"  # noqa: S105 - of a server that lives for the benchmark


class Relay:
    """Passes bytes on to a server, and counts them.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        count: Bytes that went either way so far.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.count = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            server = socket.create_connection(("127.0.0.1", self._server_port))
            threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with client, server:
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(1 << 16)
                    if not data:
                        return
                    self.count += len(data)
                    (server if source is client else client).sendall(data)


@contextmanager
def server() -> Iterator[int]:
    """Run a local Upstash in another process; yields its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "chatstash", "serve", "--port", "0", "--json", "--token", TOKEN, "--plan", "unlimited"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield int(json.loads(process.stdout.readline())["UPSTASH_REDIS_REST_URL"].rsplit(":", 1)[1])
    finally:
        process.terminate()
        process.wait(10)
