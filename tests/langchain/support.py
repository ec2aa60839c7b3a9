"""Histories, runnables, and ways to run one, for the tests of `with_history`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable, RunnableConfig, RunnableGenerator, RunnableLambda

from chatstash import UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash

CONFIG: RunnableConfig = {"configurable": {"session_id": "s"}}
EARLIER: list[BaseMessage] = [HumanMessage("earlier?", id="h0"), AIMessage("earlier.", id="a0")]
CALL = {"name": "weather", "args": {"city": "Ōsaka"}, "id": "call_1", "type": "tool_call"}
TOOL = [AIMessage("", id="a1", tool_calls=[CALL]), ToolMessage("sun", tool_call_id="call_1", artifact={"degrees": 31})]
PROMPT = ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{question}")])
IN_DICT = {"input_messages_key": "question", "history_messages_key": "history"}
QUESTION = {"question": "why?", "tone": "kind"}
WAYS = ["invoke", "ainvoke", "stream", "astream"]


def history(upstash: LocalUpstash, session_id: str = "s", **options: Any) -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory(session_id, upstash.url, upstash.token, **{"ttl": 60, **options})


def histories(upstash: LocalUpstash, **options: Any) -> Callable[[str], UpstashRedisChatMessageHistory]:
    return lambda session_id: history(upstash, session_id, **options)


def ask(chain: Runnable[Any, Any], value: Any, way: str = "invoke", config: RunnableConfig = CONFIG) -> list[Any]:
    """Run one input one way; returns the chunks of the output."""
    if way == "stream":
        return list(chain.stream(value, config))
    if way == "astream":
        return asyncio.run(collect(chain.astream(value, config)))
    return [asyncio.run(chain.ainvoke(value, config)) if way == "ainvoke" else chain.invoke(value, config)]


async def collect(chunks: AsyncIterator[Any]) -> list[Any]:
    return [chunk async for chunk in chunks]


def stored(upstash: LocalUpstash, session_id: str = "s") -> list[tuple[str, Any]]:
    """Return the type and content of each stored message."""
    return [(message.type, message.content) for message in history(upstash, session_id).messages]


def answering(value: Any) -> Runnable[Any, Any]:
    return RunnableLambda(lambda _: value)


def model(answer: str = "It is so.") -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter([AIMessage(answer, id="a1"), AIMessage("And so on.", id="a2")]))


def streaming(*chunks: Any) -> Runnable[Any, Any]:
    def generate(_: Iterator[Any]) -> Iterator[Any]:
        yield from chunks

    async def agenerate(_: AsyncIterator[Any]) -> AsyncIterator[Any]:
        for chunk in chunks:
            yield chunk

    return RunnableGenerator(generate, agenerate)


def stalling(*chunks: Any) -> Runnable[Any, Any]:
    """Yield chunks. For the one after the last, wait for ever (async) or fail (sync)."""

    def generate(_: Iterator[Any]) -> Iterator[Any]:
        yield from chunks
        raise AssertionError("the reader asked for more")

    async def agenerate(_: AsyncIterator[Any]) -> AsyncIterator[Any]:
        for chunk in chunks:
            yield chunk
        await asyncio.Event().wait()

    return RunnableGenerator(generate, agenerate)


class GatedHistory:
    """A history in memory whose async writes wait until `gate` is set."""

    def __init__(self, error: Exception | None = None) -> None:
        self.messages: list[BaseMessage] = []
        self.writing = asyncio.Event()
        self.gate = asyncio.Event()
        self.written = asyncio.Event()
        self.error = error

    async def aget_messages(self) -> list[BaseMessage]:
        return self.messages

    def add_messages(self, messages: Any) -> None:
        raise AssertionError("blocking")

    async def aadd_messages(self, messages: Any) -> None:
        self.writing.set()
        await self.gate.wait()
        self.written.set()
        if self.error:
            raise self.error
        self.messages = [*self.messages, *messages]
