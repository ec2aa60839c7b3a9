"""`RunnableWithMessageHistory` with the class: sync, async, streaming, tool calls, and the cost of a run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.history import RunnableWithMessageHistory

from chatstash import UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash

CONFIG: RunnableConfig = {"configurable": {"session_id": "s"}}
CALL = {"name": "weather", "args": {"city": "Ōsaka"}, "id": "call_1", "type": "tool_call"}
PROMPT = ChatPromptTemplate.from_messages(
    [("system", "You are terse."), MessagesPlaceholder("history"), MessagesPlaceholder("input")]
)


def _history(upstash: LocalUpstash) -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory("s", upstash.url, upstash.token, ttl=60)


def _chain(upstash: LocalUpstash, replies: Iterator[AIMessage], *, with_key: bool) -> RunnableWithMessageHistory:
    model: Runnable[Any, Any] = GenericFakeChatModel(messages=replies)
    keys = {"input_messages_key": "input", "history_messages_key": "history"} if with_key else {}
    return RunnableWithMessageHistory(PROMPT | model if with_key else model, lambda _: _history(upstash), **keys)


def _say(chain: Runnable[Any, Any], said: list[BaseMessage], way: str, *, with_key: bool) -> None:
    given: Any = {"input": said} if with_key else said
    if way == "invoke":
        chain.invoke(given, CONFIG)
    elif way == "stream":
        assert len(list(chain.stream(given, CONFIG))) > 0
    elif way == "ainvoke":
        asyncio.run(chain.ainvoke(given, CONFIG))
    else:
        asyncio.run(_streamed(chain, given))


async def _streamed(chain: Runnable[Any, Any], given: Any) -> None:
    assert [part async for part in chain.astream(given, CONFIG)]


@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke", "astream"])
@pytest.mark.parametrize(("with_key", "cost"), [(True, (2, 3)), (False, (3, 4))])
def test_runs_are_stored_at_the_documented_cost(
    upstash: LocalUpstash, way: str, with_key: bool, cost: tuple[int, int]
) -> None:
    chain = _chain(
        upstash, iter([AIMessage("first answer", id="a1"), AIMessage("second answer", id="a2")]), with_key=with_key
    )
    for number, question in enumerate(["one?", "two?"]):
        before = upstash.stats
        _say(chain, [HumanMessage(question)], way, with_key=with_key)
        spent = upstash.stats - before
        assert (spent.requests, spent.commands) == cost
        assert len(_history(upstash).messages) == 2 * (number + 1)
    kinds = [
        (message.type.removesuffix("MessageChunk").lower(), message.content) for message in _history(upstash).messages
    ]
    assert kinds == [("human", "one?"), ("ai", "first answer"), ("human", "two?"), ("ai", "second answer")]


def test_runs_with_tool_calls(upstash: LocalUpstash) -> None:
    asks = AIMessage("", id="a1", tool_calls=[CALL])
    chain = _chain(upstash, iter([asks, AIMessage("Sunny", id="a2")]), with_key=True)
    result = ToolMessage("sun", tool_call_id="call_1", artifact={"degrees": 31})
    _say(chain, [HumanMessage("Weather?")], "invoke", with_key=True)
    _say(chain, [result], "invoke", with_key=True)
    stored = _history(upstash).messages
    assert stored[0] == HumanMessage("Weather?")
    assert stored[1].tool_calls == [CALL]
    assert stored[2] == result
    assert stored[3].content == "Sunny"


def test_the_model_gets_the_earlier_messages(upstash: LocalUpstash) -> None:
    seen: list[list[BaseMessage]] = []

    class Watched(GenericFakeChatModel):
        def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
            seen.append(messages)
            return super()._generate(messages, *args, **kwargs)

    model = Watched(messages=iter([AIMessage("a"), AIMessage("b")]))
    chain = RunnableWithMessageHistory(
        PROMPT | model, lambda _: _history(upstash), input_messages_key="input", history_messages_key="history"
    )
    chain.invoke({"input": [HumanMessage("one?")]}, CONFIG)
    chain.invoke({"input": [HumanMessage("two?")]}, CONFIG)
    assert [message.content for message in seen[1]] == ["You are terse.", "one?", "a", "two?"]
