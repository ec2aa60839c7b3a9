"""How much memory a large read or append takes, in a process of its own: the peak beside the bytes of its contents.

Usage: python -m tests.reliability.memory
           prints the figures of docs/reliability.md, against a local Upstash of its own
       python -m tests.reliability.memory read|add COUNT CHARACTERS [async]
           prints one figure; url and token come from the environment
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from langchain_core.messages import HumanMessage

from chatstash import UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash

ROOT = Path(__file__).parents[2]


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


def figures() -> Iterator[tuple[str, int, int, float]]:
    """Measure adding and reading large and small messages; yields what, the count, the characters, and the peak."""
    for count, characters in ((250, 100_000), (60_000, 200)):
        with LocalUpstash() as upstash:
            for what in ("add", "read"):
                yield what, count, characters, in_a_process(upstash, what, count, characters)


def in_a_process(upstash: LocalUpstash, what: str, count: int, characters: int, colour: str = "sync") -> float:
    """Do it in a process of its own; returns the peak as a multiple of the contents."""
    words = [sys.executable, "-m", __spec__.name, what, str(count), str(characters), colour]
    environment = {"PATH": "/usr/bin:/bin", **upstash.environment}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return float(done.stdout)


def _main(arguments: Sequence[str]) -> None:
    match arguments:
        case []:
            for what, count, characters, peak in figures():
                print(f"{what:4} {count:6} messages of {characters:6} characters: {peak:4.1f} times their bytes")
        case ["add" | "read" as what, count, characters, *colour] if colour in ([], ["sync"], ["async"]):
            print(asyncio.run(main(what, int(count), int(characters), with_asyncio=colour == ["async"])))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    _main(sys.argv[1:])
