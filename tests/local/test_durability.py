"""Killing server and engine at any moment loses no write that was acknowledged."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
import urllib3

from chatstash.local import LocalUpstash
from tests.cli.support import CHATSTASH, ENVIRONMENT
from tests.local.client import Client
from tests.local.test_server import gone, processes_of


class Writer:
    """Writes numbered entries from several threads, and remembers which were acknowledged."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool = urllib3.PoolManager(retries=False, maxsize=4)
        self.acknowledged: list[str] = []
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(4)]
        for thread in self._threads:
            thread.start()

    def _write(self, thread: int) -> None:
        with contextlib.suppress(urllib3.exceptions.HTTPError, OSError):
            for number in range(1_000_000):
                entry = f"{os.urandom(4).hex()}-{thread}-{number}"
                batch = [["LPUSH", "l", entry], ["EXPIRE", "l", "3600"]]
                reply = self._pool.request(
                    "POST", f"{self._url}/multi-exec?_token=t", body=json.dumps(batch).encode(), timeout=60
                )
                if reply.status != 200:
                    return
                self.acknowledged.append(entry)

    def join(self) -> list[str]:
        for thread in self._threads:
            thread.join()
        return self.acknowledged


def kill_round(folder: Path, chances: random.Random) -> list[str]:
    """Serve, write, kill server, engine or both at a random moment; returns what was acknowledged."""
    command = [*CHATSTASH, "serve", "--port", "0", "--json", "--token", "t", "--data", str(folder), "--fsync", "always"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as server:
        assert server.stdout is not None
        writer = Writer(json.loads(server.stdout.readline())["UPSTASH_REDIS_REST_URL"])
        time.sleep(chances.uniform(0.02, 0.3))
        engines = processes_of(folder)
        assert engines
        victims = chances.choice([[server.pid], engines, [server.pid, *engines], [*engines, server.pid]])
        for victim in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        acknowledged = writer.join()
        server.kill()
    assert gone(folder)
    return acknowledged


def kill_rounds(folder: Path, rounds: int) -> None:
    chances = random.Random(20261122)
    acknowledged: list[str] = []
    for _ in range(rounds):
        acknowledged += kill_round(folder, chances)
        with LocalUpstash(data=folder, fsync="always") as upstash:
            stored = Client(upstash).run("LRANGE", "l", 0, -1)
            assert Client(upstash).run("TTL", "l") > 0
        assert len(set(stored)) == len(stored)
        assert set(acknowledged) <= set(stored)
    assert len(acknowledged) > rounds


def test_three_kills_lose_nothing(tmp_path: Path) -> None:
    kill_rounds(tmp_path, 3)


@pytest.mark.long
def test_fifty_kills_lose_nothing(tmp_path: Path) -> None:
    kill_rounds(tmp_path, 50)


def test_an_engine_that_is_killed_ends_the_server_with_a_message(tmp_path: Path) -> None:
    command = [*CHATSTASH, "serve", "--port", "0", "--json", "--data", str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as server:
        assert server.stdout is not None
        server.stdout.readline()
        for process in processes_of(tmp_path):
            os.kill(process, signal.SIGKILL)
        _, errors = server.communicate(timeout=60)
    assert server.returncode == 1
    assert "stopped unexpectedly" in errors
    assert "Traceback" not in errors
