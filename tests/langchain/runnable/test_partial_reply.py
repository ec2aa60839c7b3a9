"""Streams that are closed early: the partial reply is stored."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import AddableDict, Runnable

from chatstash import RateLimited, UpstashRedisChatMessageHistory, with_history
from chatstash.local import LocalUpstash
from tests.langchain.support import CONFIG, GatedHistory, histories, history, stalling, stored, streaming


def closed(chain: Runnable[Any, Any], value: Any, count: int) -> None:
    stream: Any = chain.stream(value, CONFIG)
    for _ in range(count):
        next(stream)
    stream.close()


def broken_off(chain: Runnable[Any, Any], value: Any, count: int) -> None:
    for number, _ in enumerate(chain.stream(value, CONFIG), 1):
        if number == count:
            break


def aclosed(chain: Runnable[Any, Any], value: Any, count: int) -> None:
    async def main() -> None:
        stream: Any = chain.astream(value, CONFIG)
        for _ in range(count):
            await anext(stream)
        await stream.aclose()

    asyncio.run(main())


def cancelled(chain: Runnable[Any, Any], value: Any, count: int) -> None:
    """Cancel the reader while it waits for the next chunk."""

    async def main() -> None:
        enough = asyncio.Event()

        async def consume() -> None:
            number = 0
            async for _ in chain.astream(value, CONFIG):
                number += 1
                if number == count:
                    enough.set()

        task = asyncio.create_task(consume())
        await enough.wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


Stop = Callable[[Runnable[Any, Any], Any, int], None]


@pytest.mark.parametrize("stop", [closed, broken_off, aclosed, cancelled])
def test_a_partial_reply_is_stored(upstash: LocalUpstash, stop: Stop) -> None:
    stop(with_history(stalling("s", "o"), histories(upstash)), "why?", 2)
    assert history(upstash).messages == [
        HumanMessage("why?"),
        AIMessage("so", response_metadata={"interrupted": True}),
    ]


@pytest.mark.parametrize(
    ("chunks", "keys"),
    [
        ((AIMessageChunk("s", id="a1"), AIMessageChunk("o", id="a1")), {}),
        ((AddableDict(sources=["a"]), AddableDict(answer="so")), {"output_messages_key": "answer"}),
    ],
)
def test_a_partial_reply_may_have_any_form(upstash: LocalUpstash, chunks: Any, keys: dict[str, str]) -> None:
    closed(with_history(stalling(*chunks), histories(upstash), **keys), "why?", 2)
    _, reply = history(upstash).messages
    assert (reply.type, reply.content, reply.response_metadata) == ("ai", "so", {"interrupted": True})


def test_of_a_partial_message_only_the_text_is_stored(upstash: LocalUpstash) -> None:
    blocks: Any = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "I look.", "index": 1}]
    call: Any = {"name": "weather", "args": '{"ci', "id": "c", "index": 2}
    chunks = [AIMessageChunk(blocks, id="a1"), AIMessageChunk("", tool_call_chunks=[call])]
    closed(with_history(stalling(*chunks), histories(upstash)), "Weather?", 2)
    reply = history(upstash).messages[1]
    assert reply == AIMessage("I look.", id="a1", response_metadata={"interrupted": True})


@pytest.mark.parametrize(
    "chunk",
    [
        AIMessageChunk("", tool_call_chunks=[{"name": "weather", "args": "{", "id": "c", "index": 0}]),
        AddableDict(context="some document"),
        AddableDict(output=None),
    ],
)
def test_before_the_text_of_a_reply_nothing_is_stored(upstash: LocalUpstash, chunk: Any) -> None:
    closed(with_history(stalling(chunk), histories(upstash)), "why?", 1)
    assert stored(upstash) == []


def test_without_keep_partial_nothing_is_stored(upstash: LocalUpstash) -> None:
    closed(with_history(stalling("s", "o"), histories(upstash), keep_partial=False), "why?", 2)
    assert stored(upstash) == []


def test_the_runnable_is_closed_before_the_partial_reply_is_appended(upstash: LocalUpstash) -> None:
    events: list[str] = []

    class Watched(UpstashRedisChatMessageHistory):
        def add_messages(self, messages: Any) -> None:
            events.append("appended")
            super().add_messages(messages)

        async def aadd_messages(self, messages: Any) -> None:
            events.append("appended")
            await super().aadd_messages(messages)

    class Model(FakeListChatModel):
        def stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
            with contextlib.ExitStack() as stack:
                stack.callback(events.append, "closed")
                yield from super().stream(*args, **kwargs)

        async def astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            with contextlib.ExitStack() as stack:
                stack.callback(events.append, "closed")
                async for chunk in super().astream(*args, **kwargs):
                    yield chunk

    chain = with_history(Model(responses=["so."]), lambda _: Watched("s", upstash.url, upstash.token))
    for stop in (closed, aclosed):
        stop(chain, "why?", 1)
    assert events == ["closed", "appended", "closed", "appended"]


def test_closing_a_stream_raises_the_error_of_the_write(upstash: LocalUpstash) -> None:
    upstash.faults.add("throttled", matching="LPUSH *")
    chain = with_history(stalling("s"), histories(upstash, retries=0))
    for stop in (closed, aclosed):
        with pytest.raises(RateLimited):
            stop(chain, "why?", 1)


def test_closing_a_chain_around_it_stores_the_reply(upstash: LocalUpstash) -> None:
    closed(with_history(streaming("s", "o."), histories(upstash)) | StrOutputParser(), "why?", 1)
    # A parser of langchain-core reads its input to the end when it is closed.
    assert stored(upstash) == [("human", "why?"), ("ai", "so.")]


def test_closing_an_async_chain_around_it_stores_the_partial_reply() -> None:
    async def main() -> None:
        history = GatedHistory()
        history.gate.set()
        chain = with_history(stalling("s"), lambda _: history) | StrOutputParser()
        stream: Any = chain.astream("why?", CONFIG)
        assert await anext(stream) == "s"
        await stream.aclose()
        del stream
        gc.collect()
        await history.written.wait()
        assert [message.content for message in history.messages] == ["why?", "s"]

    asyncio.run(main())
