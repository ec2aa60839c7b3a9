"""Many requests over many connections: memory stays flat, no descriptor is left, every reply is right."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.cli.support import serving

REQUESTS = 200_000
CONNECTIONS = 64


def descriptors(process: int) -> int:
    return len(os.listdir(f"/proc/{process}/fd"))


def resident_bytes(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Client:
    """One connection's worth of work: each reply is checked against what it must be."""

    def __init__(self, session: aiohttp.ClientSession, url: str, number: int) -> None:
        self._session = session
        self._url = url
        self._key = f"key-{number}"
        self._chances = random.Random(number)
        self._length = 0

    async def run(self, requests: int) -> None:
        for _ in range(requests):
            await self._chances.choice([self._echo, self._push, self._transaction, self._script, self._error])()

    async def _ask(self, path: str, value: Any) -> tuple[int, Any]:
        async with self._session.post(self._url + path, data=json.dumps(value)) as reply:
            return reply.status, await reply.json()

    async def _echo(self) -> None:
        text = self._chances.randbytes(self._chances.choice([1, 10, 1000])).hex()
        assert await self._ask("/", ["ECHO", text]) == (200, {"result": text})

    async def _push(self) -> None:
        self._length += 1
        assert await self._ask("/", ["LPUSH", self._key, "x" * 400]) == (200, {"result": self._length})
        if self._length >= 100:
            self._length = 0
            assert await self._ask("/", ["DEL", self._key]) == (200, {"result": 1})

    async def _transaction(self) -> None:
        status, replies = await self._ask("/multi-exec", [["LLEN", self._key], ["LRANGE", self._key, "0", "9"]])
        assert (status, replies[0]) == (200, {"result": self._length})
        assert replies[1] == {"result": ["x" * 400] * min(self._length, 10)}

    async def _script(self) -> None:
        script = "#!lua flags=allow-key-locking\nreturn redis.call('LLEN', KEYS[1])"
        assert await self._ask("/", ["EVAL", script, "1", self._key]) == (200, {"result": self._length})

    async def _error(self) -> None:
        status, body = await self._ask("/", ["INCR", self._key] if self._length else ["NOSUCH"])
        assert status == 400
        assert set(body) == {"error"}


@pytest.mark.long
def test_two_hundred_thousand_requests() -> None:
    with serving("--token", "t") as (process, variables):
        url = variables["UPSTASH_REDIS_REST_URL"]

        async def soak(requests: int) -> None:
            connector = aiohttp.TCPConnector(limit=CONNECTIONS)
            headers = {"authorization": "Bearer t"}
            async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
                clients = [Client(session, url, number) for number in range(CONNECTIONS)]
                await asyncio.gather(*(client.run(requests // CONNECTIONS) for client in clients))
                async with session.post(url, data=b'["FLUSHALL"]') as reply:
                    assert reply.status == 200

        # The log fills up (10,000 requests) and caches warm in the first part.
        asyncio.run(soak(REQUESTS // 5))
        before = (descriptors(process.pid), resident_bytes(process.pid))
        asyncio.run(soak(REQUESTS * 4 // 5))
        end = time.monotonic() + 60
        while descriptors(process.pid) > before[0] and time.monotonic() < end:
            time.sleep(0.05)
        after = (descriptors(process.pid), resident_bytes(process.pid))
    assert after[0] <= before[0]
    assert after[1] - before[1] < 8 * 1024 * 1024, f"{(after[1] - before[1]) / 1e6:.1f} MB more"
