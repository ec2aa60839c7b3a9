"""Each async operation cancelled at each of its awaits, before it ends and just as it ends: nothing is left behind.

Its server permits replies of 130 kB, so that reading takes several requests. Whatever was cancelled, the next operation
works; by its idempotency key an append is decided, and made once.
"""

import asyncio
import gc
import os
import socket
import weakref
from collections.abc import Awaitable, Callable, Generator
from typing import Any

from langchain_core.messages import HumanMessage

from chatstash import Outcome, Store, UpstashRedisChatMessageHistory

ONE = [HumanMessage("one"), HumanMessage("two")]
LARGE = [HumanMessage(str(number) + "x" * 12_000) for number in range(12)]


asked: weakref.WeakSet[socket.socket] = weakref.WeakSet()


def recv(sock: socket.socket, *arguments: Any) -> bytes:
    """Receive nothing at the first try, so that each reply is awaited, however fast it came."""
    if sock not in asked:
        asked.add(sock)
        raise BlockingIOError
    asked.discard(sock)
    return super(socket.socket, sock).recv(*arguments)


class Stepping:
    """Awaits a coroutine, and cancels its own task at the await of a number."""

    def __init__(self, awaited: Awaitable[None], at: int, *, just_as_it_ends: bool) -> None:
        self.awaited = awaited
        self.at = at
        self.just_as_it_ends = just_as_it_ends
        self.steps = 0

    def __await__(self) -> Generator[Any, None, None]:
        inner = self.awaited.__await__()
        task = asyncio.current_task()
        resume = lambda: next(inner)  # noqa: E731
        while True:
            try:
                waiting = resume()
            except StopIteration:
                return
            self.steps += 1
            if self.steps == self.at:
                if self.just_as_it_ends and waiting is not None:
                    waiting.add_done_callback(lambda _: task.cancel())
                else:
                    task.cancel()
            try:
                yield waiting
            except BaseException as error:
                resume = lambda error=error: inner.throw(error)  # noqa: E731
            else:
                resume = lambda: next(inner)  # noqa: E731


async def at_every_step(make: Callable[[], Awaitable[None]], after: Callable[[], Awaitable[None]]) -> int:
    """Cancel what `make` gives at its first await, its second and so on, until it ends; run `after` each time."""
    cancelled = 0
    for just_as_it_ends in (False, True):
        at = 0
        while True:
            at += 1
            stepping = Stepping(make(), at, just_as_it_ends=just_as_it_ends)

            async def run(stepping: Stepping = stepping) -> None:
                await stepping

            task = asyncio.create_task(run())
            await asyncio.wait([task])
            cancelled += task.cancelled()
            if not task.cancelled():
                task.result()
            await after()
            if stepping.steps < at:
                break
    return cancelled


async def check(history: UpstashRedisChatMessageHistory) -> None:
    number = 0

    async def plain_is_stored_once_at_most() -> None:
        texts = [message.content for message in await history.aget_messages()]
        assert texts in ([], [message.content for message in ONE], [message.content for message in LARGE]), texts
        await history.aclear()

    async def keyed() -> None:
        await history.aadd_messages(ONE, idempotency_key=f"key-{number}")

    async def keyed_large() -> None:
        await history.aadd_messages(LARGE, idempotency_key=f"key-{number}")

    def decided(messages: list[HumanMessage]) -> Callable[[], Awaitable[None]]:
        async def after() -> None:
            nonlocal number
            assert await history.acheck_outcome(f"key-{number}") in (Outcome.STORED, Outcome.STILL_POSSIBLE)
            await history.aadd_messages(messages, idempotency_key=f"key-{number}")
            assert await history.acheck_outcome(f"key-{number}") is Outcome.STORED
            texts = [message.content for message in await history.aget_messages()]
            assert texts == [message.content for message in messages], texts
            await history.aclear()
            number += 1

        return after

    assert await at_every_step(lambda: history.aadd_messages(ONE), plain_is_stored_once_at_most) > 1
    assert await at_every_step(lambda: history.aadd_messages(LARGE), plain_is_stored_once_at_most) > 3
    assert await at_every_step(keyed, decided(ONE)) > 1
    assert await at_every_step(keyed_large, decided(LARGE)) > 3
    await reading_and_turning(history)


async def reading_and_turning(history: UpstashRedisChatMessageHistory) -> None:
    for _ in range(2):
        await history.aadd_messages(LARGE)
    whole = len(LARGE) * 2

    async def is_whole() -> None:
        assert len(await history.aget_messages()) == whole

    async def turn() -> None:
        async with history.guarded_turn() as turn:
            turn.add_messages(ONE)

    async def has_whole_turns() -> None:
        nonlocal whole
        now = len(await history.aget_messages())
        assert now - whole in (0, len(ONE))
        whole = now

    async def clear_and_fill() -> None:
        length = len(await history.aget_messages())
        assert length in (0, whole), length
        if not length:
            await history.aadd_messages(ONE)
        await asyncio.sleep(0)

    before = (await history.aread()).cost.requests
    assert before > 5, "read in pages"
    assert await at_every_step(history.aget_messages, is_whole) > 3
    assert await at_every_step(turn, has_whole_turns) > 3
    await history.aclear()
    await history.aadd_messages(ONE)
    whole = len(ONE)
    assert await at_every_step(history.aclear, clear_and_fill) > 1


async def within_timeouts(history: UpstashRedisChatMessageHistory) -> None:
    for number in range(60):
        key = f"timeout-{number}"
        try:
            async with asyncio.timeout(number * 0.0001):
                await history.aadd_messages(ONE, idempotency_key=key)
        except TimeoutError:
            assert await history.acheck_outcome(key) in (Outcome.STORED, Outcome.STILL_POSSIBLE)
        await history.aadd_messages(ONE, idempotency_key=key)
    assert len(await history.aget_messages()) == 60 * len(ONE)


async def main() -> None:
    socket.socket.recv = recv  # type: ignore[method-assign]
    problems: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    async with Store(timeout=60, max_request_bytes=100_000) as store:
        await UpstashRedisChatMessageHistory("first", store=store).aget_messages()
    descriptors = len(os.listdir("/proc/self/fd"))
    async with Store(timeout=60, max_request_bytes=100_000) as store:
        await check(UpstashRedisChatMessageHistory("everywhere", store=store, ttl=60))
        await within_timeouts(UpstashRedisChatMessageHistory("timeouts", store=store))
    gc.collect()
    await asyncio.sleep(0)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert problems == [], problems


asyncio.run(main())
print("ok")
