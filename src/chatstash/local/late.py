"""Requests that wait to be applied or answered: for a time, or until a test releases them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from chatstash.local.commands import EngineCommand
from chatstash.local.faults import Fault, matches
from chatstash.local.masking import Masker
from chatstash.local.stats import described

_APPLY_SECONDS = 30.0


class LateRequests:
    """The requests that wait, oldest first. Used by the server's thread alone, but for `waiting`.

    Args:
        mask: Leaves secrets out of what is shown.
    """

    def __init__(self, mask: Masker) -> None:
        self._mask = mask
        self._held: dict[_Held, None] = {}
        self._dropped = asyncio.Event()
        self._changed = asyncio.Event()

    @property
    def waiting(self) -> list[tuple[str, ...]]:
        """The commands of each request that is held until its release, as the log describes them."""
        return [described(held.commands, self._mask) for held in list(self._held)]

    def hold(self, commands: Sequence[EngineCommand]) -> _Held:
        """Take a request in, to be waited for with `due`."""
        held = _Held(commands)
        self._held[held] = None
        self._change()
        return held

    @asynccontextmanager
    async def due(self, fault: Fault, held: _Held | None) -> AsyncIterator[bool]:
        """Wait until a request's time has come; tells whether it is to go on, or was dropped.

        What is done within the block is what `release` waits for.
        """
        try:
            yield await self._goes_on(fault, held)
        finally:
            if held is not None:
                self._held.pop(held, None)
                held.done.set()
                self._change()

    async def _goes_on(self, fault: Fault, held: _Held | None) -> bool:
        if held is None and not fault.seconds:
            return True
        dropped = asyncio.ensure_future(self._dropped.wait())
        ready = asyncio.ensure_future(asyncio.sleep(fault.seconds) if held is None else held.released.wait())
        try:
            await asyncio.wait({ready, dropped}, return_when=asyncio.FIRST_COMPLETED)
            return ready.done()
        finally:
            ready.cancel()
            dropped.cancel()

    async def release(self, count: int | None = None, matching: str = "") -> int:
        """Let requests that are held go on, one after the other, oldest first; returns how many, once they are applied.

        Args:
            count: How many at most; None for all.
            matching: Those with such a command, as a fault's `matching`.
        """
        found = [held for held in self._held if not held.released.is_set() and matches(matching, held.commands)][:count]
        for held in found:
            held.released.set()
            await asyncio.wait_for(held.done.wait(), _APPLY_SECONDS)
        return len(found)

    async def until_held(self, count: int) -> None:
        """Wait until so many requests are held."""
        while len(self._held) < count:
            self._changed.clear()
            await self._changed.wait()

    def drop(self) -> None:
        """Forget all that wait."""
        self._dropped.set()
        self._dropped = asyncio.Event()

    def _change(self) -> None:
        self._changed.set()


class _Held:
    """One request that is held."""

    def __init__(self, commands: Sequence[EngineCommand]) -> None:
        self.commands = commands
        self.released = asyncio.Event()
        self.done = asyncio.Event()
