"""What the tests of transfers share: workflows that stream, in both colours, and what a store holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from chatstash import Store, transfer
from chatstash.local import LocalUpstash

Transfer = Callable[..., Any]


def in_colour(colour: str, name: str, *args: Any, **keywords: Any) -> Any:
    """Call a function of `chatstash.transfer`; what it yields is returned as a list."""
    if colour == "sync":
        made = getattr(transfer, name)(*args, **keywords)
        return list(made) if hasattr(made, "__next__") else made

    async def called() -> Any:
        made = getattr(transfer, f"a{name}")(*args, **keywords)
        return [each async for each in made] if hasattr(made, "__anext__") else await made

    return asyncio.run(called())


def store_of(upstash: LocalUpstash, **options: Any) -> Store:
    return Store(upstash.url, upstash.token, max_request_bytes=100_000, **options)


def stored(store: Store, name: str) -> list[bytes]:
    """Return the stored records of a conversation, oldest first, duplicates included."""
    session = store.session(name)
    return list(session.run(session.reading_unchanged()).stored)
