"""Requests that a fault delays: for a time, or until a test releases them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from chatstash.local.engine.commands import EngineCommand
from chatstash.local.faults.fault import Fault, matches
from chatstash.local.stats.log import described
from chatstash.local.stats.masking import Masker

_APPLY_SECONDS = 30.0


class DelayedRequests:
    """The delayed requests, oldest first. Only `held` may be used outside the server's thread."""

    def __init__(self, mask: Masker) -> None:
        self._mask = mask
        self._held: dict[_Held, None] = {}
        self._dropped = asyncio.Event()
        self._sleeping: set[asyncio.Future[bool]] = set()
        self._changed = asyncio.Event()

    @property
    def held(self) -> list[tuple[str, ...]]:
        """The commands of each request that waits for its release, as the log shows them."""
        return [described(held.commands, self._mask) for held in list(self._held)]

    def hold(self, commands: Sequence[EngineCommand]) -> _Held:
        """Add a request that waits for its release, for `due`."""
        held = _Held(commands)
        self._held[held] = None
        self._changed.set()
        return held

    @asynccontextmanager
    async def due(self, fault: Fault, held: _Held | None) -> AsyncIterator[bool]:
        """Wait until a request is due; yields whether it continues or was dropped.

        `release` waits until the block has ended.
        """
        try:
            yield await self._continues(fault, held)
        finally:
            if held is not None:
                self._held.pop(held, None)
                held.done.set()
                self._changed.set()

    async def _continues(self, fault: Fault, held: _Held | None) -> bool:
        if held is None:
            return not fault.seconds or await self._sleep(fault.seconds)
        dropped = asyncio.ensure_future(self._dropped.wait())
        ready = asyncio.ensure_future(held.released.wait())
        try:
            await asyncio.wait({ready, dropped}, return_when=asyncio.FIRST_COMPLETED)
            return ready.done()
        finally:
            ready.cancel()
            dropped.cancel()

    async def _sleep(self, seconds: float) -> bool:
        # Without a task: a benchmark may delay thousands of requests at once.
        loop = asyncio.get_running_loop()
        continues: asyncio.Future[bool] = loop.create_future()
        timer = loop.call_later(seconds, _set, continues, True)
        self._sleeping.add(continues)
        try:
            return await continues
        finally:
            self._sleeping.discard(continues)
            timer.cancel()

    async def release(self, count: int | None = None, matching: str = "") -> int:
        """Release held requests one by one, oldest first; returns their number once they are applied."""
        if (count is not None and (type(count) is not int or count < 0)) or not isinstance(matching, str):
            raise ValueError("count must be a whole number from 0 or None, and matching the name of a command")
        found = [held for held in self._held if not held.released.is_set() and matches(matching, held.commands)][:count]
        for held in found:
            held.released.set()
            await asyncio.wait_for(held.done.wait(), _APPLY_SECONDS)
        return len(found)

    async def until_held(self, count: int) -> None:
        """Wait until this many requests are held."""
        while len(self._held) < count:
            self._changed.clear()
            await self._changed.wait()

    def drop(self) -> None:
        """Drop all delayed requests."""
        self._dropped.set()
        self._dropped = asyncio.Event()
        for continues in self._sleeping:
            _set(continues, False)


def _set(future: asyncio.Future[bool], value: bool) -> None:
    if not future.done():
        future.set_result(value)


@dataclass(eq=False)
class _Held:
    """One request that waits for its release."""

    commands: Sequence[EngineCommand]
    released: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)
