"""A lock with shared and exclusive holders: scripts run alone, all other commands together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class SharedLock:
    """Many shared holders, or one exclusive holder.

    `async with lock` holds it together with others, `async with lock.exclusive()` alone. A waiting exclusive holder
    takes precedence over later shared ones.
    """

    def __init__(self) -> None:
        self._shared = 0
        self._entry = asyncio.Lock()
        self._no_shared = asyncio.Event()
        self._no_shared.set()

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Hold the lock alone."""
        async with self._entry:
            await self._no_shared.wait()
            yield

    async def __aenter__(self) -> None:
        async with self._entry:
            self._shared += 1
            self._no_shared.clear()

    async def __aexit__(self, *_: object) -> None:
        self._shared -= 1
        if not self._shared:
            self._no_shared.set()
