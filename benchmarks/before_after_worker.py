"""Runs the work of `benchmarks.before_after` with the chatstash it finds: reads a line, prints CPU milliseconds.

Imports nothing else of the benchmarks: it must run in any version's tree.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple


class Work(NamedTuple):
    """The timed method, the untimed one before it, and how often they run in a round."""

    run: str
    count: int
    before: str = ""
    repetitions: int = 1


WORKS = {
    "read 2": Work("read", 2, repetitions=40),
    "read 1,000": Work("read", 1000, repetitions=25),
    "read 1,000 records": Work("read_records", 1000, repetitions=25),
    "read the last 20 of 1,000": Work("read_window", 1000, repetitions=30),
    "append 2": Work("append", 2, repetitions=40),
    "append 1,000": Work("append", 1000, before="clear", repetitions=3),
    "the next turn, cached": Work("read_cached", 1000, before="append_turn", repetitions=5),
}


class Conversations:
    """The conversations that are read and written."""

    def __init__(self, url: str, token: str) -> None:
        from langchain_core.messages import AIMessage, HumanMessage  # noqa: PLC0415 - the parent needs only WORKS

        from chatstash import Store, UpstashRedisChatMessageHistory  # noqa: PLC0415

        prefix = f"{time.time_ns()}-"
        self._messages = [(AIMessage if index % 2 else HumanMessage)("x" * 200) for index in range(1000)]
        store = Store(url, token, ttl=3600)
        cached = Store(url, token, ttl=3600, cache_bytes=50_000_000)
        self._read = {count: UpstashRedisChatMessageHistory(f"{prefix}{count}", store=store) for count in (2, 1000)}
        self._session = store.session(f"{prefix}1000")
        self._written = UpstashRedisChatMessageHistory(f"{prefix}written", store=store)
        self._cached = UpstashRedisChatMessageHistory(f"{prefix}cached", store=cached)
        for count, history in [*self._read.items(), (1000, self._cached)]:
            history.add_messages(self._messages[:count])

    def read(self, count: int) -> None:
        assert len(self._read[count].messages) == count

    def read_records(self, count: int) -> None:
        assert len(self._session.records()) == count

    def read_window(self, _: int) -> None:
        assert len(self._read[1000].read(last=20).messages) == 20

    def append(self, count: int) -> None:
        self._written.add_messages(self._messages[:count])

    def clear(self) -> None:
        self._written.clear()

    def append_turn(self) -> None:
        self._cached.add_messages(self._messages[:2])

    def read_cached(self, count: int) -> None:
        assert len(self._cached.messages) >= count


def cpu_ms(conversations: Any, work: Work) -> float:
    """Return the CPU milliseconds of this process for one repetition."""
    before: Callable[[], None] = getattr(conversations, work.before) if work.before else lambda: None
    run: Callable[[int], None] = getattr(conversations, work.run)
    gc.collect()  # else a full collection falls into the same piece of work in every round
    spent = 0.0
    for _ in range(work.repetitions):
        before()
        start = time.process_time()
        run(work.count)
        spent += time.process_time() - start
    return spent * 1000 / work.repetitions


if __name__ == "__main__":
    url, token, tree = sys.argv[1:]
    conversations = Conversations(url, token)
    assert str(sys.modules["chatstash"].__file__).startswith(tree)
    for line in sys.stdin:
        print(cpu_ms(conversations, WORKS[line.strip()]), flush=True)
