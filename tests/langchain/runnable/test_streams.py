"""Streams that run to their end: chunks are passed on as they arrive and stored as whole messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.runnables import Runnable

from chatstash import with_history
from chatstash.local import LocalUpstash
from tests.langchain.support import CONFIG, TOOL, ask, histories, history, model, stored, streaming


def test_a_stream_passes_chunks_on_as_they_arrive_and_appends_before_it_ends(upstash: LocalUpstash) -> None:
    chunks = with_history(streaming("s", "o."), histories(upstash)).stream("why?", CONFIG)
    assert [next(chunks), next(chunks)] == ["s", "o."]
    assert stored(upstash) == []
    with pytest.raises(StopIteration):
        next(chunks)
    assert stored(upstash) == [("human", "why?"), ("ai", "so.")]


def test_an_async_stream_passes_chunks_on_as_they_arrive_and_appends_before_it_ends(upstash: LocalUpstash) -> None:
    async def main() -> None:
        chunks = with_history(streaming("s", "o."), histories(upstash)).astream("why?", CONFIG)
        assert [await anext(chunks), await anext(chunks)] == ["s", "o."]
        assert await history(upstash).aget_messages() == []
        with pytest.raises(StopAsyncIteration):
            await anext(chunks)
        assert len(await history(upstash).aget_messages()) == 2

    asyncio.run(main())


def test_a_streamed_reply_is_stored_as_a_whole_message(upstash: LocalUpstash) -> None:
    ask(with_history(model(), histories(upstash)), "why?", "stream")
    assert history(upstash).messages[1] == AIMessage("It is so.", id="a1")


def test_whole_messages_of_a_stream_are_stored_one_by_one(upstash: LocalUpstash) -> None:
    ask(with_history(streaming(*TOOL, AIMessage("so.")), histories(upstash)), "why?", "stream")
    assert history(upstash).messages == [HumanMessage("why?"), *TOOL, AIMessage("so.")]


@pytest.mark.parametrize("way", ["stream", "astream"])
@pytest.mark.parametrize(
    "chunks",
    [
        ({"answer": "s"}, {"answer": "so."}),
        ({"answer": "s"}, {"answer": "o."}),
        (AIMessageChunk("s", response_metadata={"p": 0.5}), None, AIMessageChunk("o.", response_metadata={"p": True})),
    ],
)
def test_chunks_are_stored_whole_and_passed_on_unchanged(upstash: LocalUpstash, way: str, chunks: Any) -> None:
    class Streaming(Runnable[Any, Any]):
        def invoke(self, *args: Any, **kwargs: Any) -> Any: ...

        def stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
            yield from chunks

        async def astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            for chunk in chunks:
                yield chunk

    assert ask(with_history(Streaming(), histories(upstash)), "why?", way) == list(chunks)
    assert stored(upstash) == [("human", "why?"), ("ai", "so.")]


def test_after_an_empty_stream_the_input_is_stored(upstash: LocalUpstash) -> None:
    assert ask(with_history(streaming(), histories(upstash)), "why?", "stream") == []
    assert stored(upstash) == [("human", "why?")]
