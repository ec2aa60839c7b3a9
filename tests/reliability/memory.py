"""How much memory a large read or append takes, in a process of its own: the peak beside the bytes of its contents.

Usage: python -m tests.reliability.memory read|add COUNT CHARACTERS [async]; url and token come from the environment.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from langchain_core.messages import HumanMessage

from chatstash import UpstashRedisChatMessageHistory


def peak() -> int:
    """Return the most memory this process has had since it was last reset, in bytes."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def reset_peak() -> None:
    """Begin anew with what the process has now."""
    Path("/proc/self/clear_refs").write_text("5")


def messages(count: int, characters: int) -> list[HumanMessage]:
    """Return messages that can be told apart."""
    return [HumanMessage(f"{number:09} ".ljust(characters, "x")) for number in range(count)]


async def main(what: str, count: int, characters: int, *, with_asyncio: bool) -> float:
    """Do it; returns the peak as a multiple of the contents."""
    history = UpstashRedisChatMessageHistory("large", timeout=100)
    warm = UpstashRedisChatMessageHistory("small")
    await warm.aget_messages()
    _ = warm.messages
    wanted = messages(count, characters) if what == "add" else []
    reset_peak()
    before = peak()
    if what == "add":
        await history.aadd_messages(wanted) if with_asyncio else history.add_messages(wanted)
    else:
        found = await history.aget_messages() if with_asyncio else history.messages
        assert len(found) == count
    return (peak() - before) / (count * characters)


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), with_asyncio="async" in sys.argv)))
