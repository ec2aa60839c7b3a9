"""Whose turn it is at the engine: scripts run alone, everything else together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """Lets many in together, or one alone; whoever waits to be alone is let in before those who come later."""

    def __init__(self) -> None:
        self._inside = 0
        self._alone = asyncio.Lock()
        self._nobody_alone = asyncio.Event()
        self._nobody_alone.set()
        self._nobody_inside = asyncio.Event()
        self._nobody_inside.set()

    def shared(self) -> _Shared:
        """Be inside together with others: `async with turns.shared()`."""
        return _Shared(self)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Be inside with nobody else."""
        async with self._alone:
            self._nobody_alone.clear()
            try:
                await self._nobody_inside.wait()
                yield
            finally:
                self._nobody_alone.set()

    async def enter(self) -> None:
        """Come in."""
        while not self._nobody_alone.is_set():
            await self._nobody_alone.wait()
        self._inside += 1
        self._nobody_inside.clear()

    def leave(self) -> None:
        """Go out."""
        self._inside -= 1
        if not self._inside:
            self._nobody_inside.set()


class _Shared:
    """A turn together with others; a class, for a generator would cost a request more than the rest of it."""

    __slots__ = ("_turns",)

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    async def __aenter__(self) -> None:
        await self._turns.enter()

    async def __aexit__(self, *_: object) -> None:
        self._turns.leave()
