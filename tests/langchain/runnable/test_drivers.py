"""Writes of cancelled runs complete."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from typing import Any

import pytest

from chatstash import RateLimited, with_history
from tests.langchain.support import CONFIG, GatedHistory, answering, collect, stalling


async def _cancelled_twice(history: GatedHistory) -> None:
    """Cancel the reader while it waits for the model, and again while it waits for the write, as anyio does."""

    async def consume() -> None:
        async for _ in with_history(stalling("s"), lambda _: history).astream("why?", CONFIG):
            begun.set()

    begun = asyncio.Event()
    task = asyncio.create_task(consume())
    await begun.wait()
    await asyncio.sleep(0)
    task.cancel()
    await history.writing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_write_completes_if_its_caller_is_cancelled_again() -> None:
    async def main() -> None:
        history = GatedHistory()
        await _cancelled_twice(history)
        assert history.messages == []
        history.gate.set()
        await history.written.wait()
        assert [message.content for message in history.messages] == ["why?", "s"]

    asyncio.run(main())


def test_a_running_write_is_not_garbage_collected() -> None:
    class Forgetful(GatedHistory):
        async def aadd_messages(self, messages: Any) -> None:
            done = asyncio.get_running_loop().create_future()
            self.done = weakref.ref(done)
            self.writing.set()
            await done

    async def main() -> None:
        history = Forgetful()
        await _cancelled_twice(history)
        await asyncio.sleep(0)  # releases the reader's task, whose traceback references the write's
        gc.collect()
        done = history.done()
        assert done is not None
        done.set_result(None)

    asyncio.run(main())


def test_a_write_that_fails_after_its_caller_is_cancelled_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        history = GatedHistory(RateLimited("secret words"))
        await _cancelled_twice(history)
        history.gate.set()
        await history.written.wait()
        await asyncio.sleep(0)

    asyncio.run(main())
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("chatstash", logging.ERROR)
    assert record.getMessage() == "The messages of a cancelled run could not be stored: RateLimited."


@pytest.mark.parametrize("way", ["ainvoke", "astream"])
def test_a_complete_run_is_stored_if_its_caller_is_cancelled_during_the_write(way: str) -> None:
    async def main() -> None:
        history = GatedHistory()
        chain = with_history(answering("so."), lambda _: history)
        running = chain.ainvoke("why?", CONFIG) if way == "ainvoke" else collect(chain.astream("why?", CONFIG))
        task = asyncio.ensure_future(running)
        await history.writing.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        history.gate.set()
        await history.written.wait()
        assert [message.content for message in history.messages] == ["why?", "so."]

    asyncio.run(main())
