"""Streams of agents that are closed early: the partial reply is stored, with tool calls that have their results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from chatstash import with_history
from chatstash.langchain.runnable.chunks import messages_in
from chatstash.langchain.runnable.tool_messages import call_ids
from chatstash.local import LocalUpstash
from tests.langchain.support import CONFIG, histories, history, stored

if int(version("langchain-core").partition(".")[0]) < 1:
    # Elsewhere a missing langchain is an error: these tests must not vanish unseen.
    pytest.skip("agents of LangChain 1 need langchain-core 1", allow_module_level=True)

from langchain.agents import create_agent

from tests.langchain.runnable.agents import KEYS, WHOLE, Scripted, agent, weather
from tests.providers import TAKES


def _chain(upstash: LocalUpstash, runnable: Any) -> Any:
    return with_history(runnable, histories(upstash), **KEYS)


def _stop(chain: Any, colour: str, until: Callable[[Any], bool], mode: dict[str, Any]) -> None:
    async def main() -> None:
        chunks = chain.astream({"messages": "weather?"}, CONFIG, **mode)
        async for chunk in chunks:
            if until(chunk):
                break
        await chunks.aclose()

    if colour == "async":
        asyncio.run(main())
        return
    chunks = chain.stream({"messages": "weather?"}, CONFIG, **mode)
    for chunk in chunks:
        if until(chunk):
            break
    chunks.close()


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("mode", [{}, {"stream_mode": "values"}, {"stream_mode": ["updates", "messages"]}])
def test_a_stream_closed_after_a_tool_stores_the_call_and_its_result(
    upstash: LocalUpstash, mode: dict[str, Any], colour: str
) -> None:
    _stop(_chain(upstash, agent()), colour, lambda chunk: "sunny in Rome" in str(chunk), mode)
    assert stored(upstash) == WHOLE


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("mode", [{}, {"stream_mode": "values"}])
def test_a_stream_closed_after_its_last_state_is_complete(
    upstash: LocalUpstash, mode: dict[str, Any], colour: str
) -> None:
    _stop(_chain(upstash, agent()), colour, lambda chunk: "It is sunny" in str(chunk), mode)
    assert stored(upstash) == [*WHOLE, ("ai", "It is sunny today.")]
    assert "interrupted" not in history(upstash).messages[-1].response_metadata


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("middleware", ["plain", "all"])
def test_the_received_part_of_an_answer_is_stored(upstash: LocalUpstash, middleware: str, colour: str) -> None:
    for _ in range(2):
        _stop(
            _chain(upstash, agent(middleware)),
            colour,
            lambda chunk: chunk[0].text == " is",
            {"stream_mode": "messages"},
        )
    assert stored(upstash) == [*WHOLE, ("ai", "It is")] * 2
    assert history(upstash).messages[-1].response_metadata["interrupted"] is True


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("mode", ["updates", "messages", ["values", "messages"]])
@pytest.mark.parametrize("middleware", ["copies", "trimming this turn", "summary of this turn"])
def test_wherever_a_stream_is_closed_the_received_calls_are_stored_once(
    upstash: LocalUpstash, middleware: str, mode: Any, colour: str
) -> None:
    whole: list[Any] = []
    _stop(_chain(upstash, agent(middleware, calls=2)), colour, whole.append, {"stream_mode": mode})  # type: ignore[arg-type]
    for wanted in range(1, len(whole) + 1):
        history(upstash).clear()
        received: list[Any] = []
        _stop(
            _chain(upstash, agent(middleware, calls=2)),
            colour,
            lambda chunk: received.append(chunk) or len(received) == wanted,  # noqa: B023 - called within the loop
            {"stream_mode": mode},
        )
        results = {message.tool_call_id for message in messages_in(received) if isinstance(message, ToolMessage)}
        said = history(upstash).messages
        calls = [name for message in said if message.type == "ai" for name in call_ids(message)]
        assert [name for message in said if message.type == "tool" for name in call_ids(message)] == calls
        assert calls == sorted(results)
        assert [message.type for message in said] in (
            [],
            ["human", *["ai", "tool"] * len(calls)],
            ["human", *["ai", "tool"] * len(calls), "ai"],
        )


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_of_parallel_calls_those_with_results_are_stored(upstash: LocalUpstash, colour: str) -> None:
    class Parallel(Scripted):
        def _reply(self, messages: Any) -> AIMessage:
            calls: list[Any] = [{"name": "weather", "args": {"city": city}, "id": city} for city in ("Rome", "Oslo")]
            content: list[Any] = [{**call, "type": "tool_use", "input": call["args"]} for call in calls]
            return AIMessage([{"type": "text", "text": "I look."}, *content], tool_calls=calls)

        def _stream(self, *args: Any, **kwargs: Any) -> Any:
            raise NotImplementedError

    runnable = create_agent(Parallel(disable_streaming=True), [weather])
    _stop(_chain(upstash, runnable), colour, lambda chunk: "tools" in chunk, {"stream_mode": "updates"})
    _, asks, result = history(upstash).messages
    assert isinstance(asks, AIMessage)
    assert call_ids(asks) == call_ids(result)
    assert [block.get("id") for block in asks.content if isinstance(block, dict)] == [None, *call_ids(result)]
    assert asks.response_metadata["interrupted"] is True
    for takes in TAKES.values():
        takes([*history(upstash).messages, HumanMessage("next")])


def test_a_call_without_its_result_is_not_stored(upstash: LocalUpstash) -> None:
    _stop(_chain(upstash, agent()), "sync", lambda chunk: "model" in chunk, {"stream_mode": "updates"})
    assert stored(upstash) == []


def test_a_closed_stream_of_events_stores_the_received_part(upstash: LocalUpstash) -> None:
    async def main() -> None:
        events = _chain(upstash, agent()).astream_events({"messages": "weather?"}, CONFIG, version="v2")
        async for event in events:
            if event["event"] == "on_chat_model_stream" and event["data"]["chunk"].text == " is":
                break
        await events.aclose()
        while not await history(upstash).aget_messages():  # noqa: ASYNC110 - the running write has no event
            await asyncio.sleep(0.01)

    asyncio.run(main())
    said = stored(upstash)
    assert said[:3] == WHOLE
    assert str(said[3][1]).startswith("It is")
