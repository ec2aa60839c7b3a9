"""A load generator for one loopback address: each connection sends a request, waits for the reply, and repeats."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ReplyEnd = Callable[[bytes], bool]
"""Tells whether the bytes received so far are a complete reply; raises ValueError if the reply is wrong."""

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measured:
    """The result of one run.

    Attributes:
        requests: The number of answered requests.
        seconds: Wall time.
        p50, p99: Latencies, in seconds.
        client_cpu: CPU seconds of the load generator.
        server_cpu: CPU seconds of the processes measured, in the order of their ids.
    """

    requests: int
    seconds: float
    p50: float
    p99: float
    client_cpu: float
    server_cpu: tuple[float, ...]


class _Connection(asyncio.Protocol):
    def __init__(self, load: Load) -> None:
        self._load = load
        self._buffer = b""
        self._sent = 0.0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment] # uvloop's transports are not asyncio's

    def go_on(self) -> None:
        if self._load.left <= 0:
            self._transport.close()
            self.done.set_result(None)
            return
        self._load.left -= 1
        self._sent = time.perf_counter()
        self._transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        try:
            if not self._load.is_whole(self._buffer):
                return
        except ValueError as error:
            self._load.left = 0
            self._transport.close()
            self.done.set_exception(error)
            return
        self._load.latencies.append(time.perf_counter() - self._sent)
        self._buffer = b""
        self.go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server closed a connection"))


class Load:
    """Sends the same request repeatedly.

    Args:
        port: Where the server listens, on 127.0.0.1.
        request: The bytes of one request.
        is_whole: Tells the end of a reply.
    """

    def __init__(self, port: int, request: bytes, is_whole: ReplyEnd) -> None:
        self.port = port
        self.request = request
        self.is_whole = is_whole
        self.left = 0
        self.latencies: list[float] = []

    async def run(self, connections: int, requests: int, processes: list[int]) -> Measured:
        """Send `requests` over `connections`, and measure this process and the processes named by id."""
        loop = asyncio.get_running_loop()
        self.left, self.latencies = requests, []
        clients = [
            (await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self.port))[1]
            for _ in range(connections)
        ]
        cpu = [cpu_seconds(process) for process in processes]
        own, start = time.process_time(), time.perf_counter()
        for client in clients:
            client.go_on()
        await asyncio.gather(*(client.done for client in clients))
        seconds, used = time.perf_counter() - start, time.process_time() - own
        spent = tuple(cpu_seconds(process) - before for process, before in zip(processes, cpu, strict=True))
        self.latencies.sort()
        count = len(self.latencies)
        return Measured(count, seconds, self.latencies[count // 2], self.latencies[int(count * 0.99)], used, spent)


def cpu_seconds(process: int) -> float:
    """Return the CPU time a process has used, in seconds. Linux only."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
