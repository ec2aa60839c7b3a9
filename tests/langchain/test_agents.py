"""`with_history` around agents of LangChain 1: a run's messages are stored once, whatever middleware and stream do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from chatstash import UpstashRedisChatMessageHistory, with_history
from chatstash.local import LocalUpstash

if int(version("langchain-core").partition(".")[0]) < 1:
    # Elsewhere a missing langchain is an error: these tests must not vanish unseen.
    pytest.skip("agents of LangChain 1 need langchain-core 1", allow_module_level=True)

from tests.langchain.agents import CONFIG, KEYS, MIDDLEWARE, agent

QUESTIONS = [f"What is the weather {n}? Write to ann{n}@example.org" for n in range(5)]
TURN = ["human", "ai", "tool", "ai"]
MODES: list[Any] = [None, "values", "updates", "messages", "custom", ["values", "messages"], ["updates", "custom"]]


def _history(upstash: LocalUpstash, **options: Any) -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory("s", upstash.url, upstash.token, **{"ttl": 60, **options})


async def _all(parts: Any) -> list[Any]:
    return [part async for part in parts]


def _mode(mode: Any) -> dict[str, Any]:
    return {} if mode is None else {"stream_mode": mode}


WAYS: dict[str, Callable[[Any, Any], Any]] = {
    "invoke": lambda chain, value: chain.invoke(value, CONFIG),
    "ainvoke": lambda chain, value: asyncio.run(chain.ainvoke(value, CONFIG)),
    "invoke, updates": lambda chain, value: chain.invoke(value, CONFIG, stream_mode="updates"),
    "events": lambda chain, value: asyncio.run(_all(chain.astream_events(value, CONFIG, version="v2"))),
}
for _each in MODES:
    for _subgraphs in (False, True):
        _more = {**_mode(_each), **({"subgraphs": True} if _subgraphs else {})}
        WAYS[f"stream {_more}"] = lambda chain, value, more=_more: list(chain.stream(value, CONFIG, **more))
        WAYS[f"astream {_more}"] = lambda chain, value, more=_more: asyncio.run(
            _all(chain.astream(value, CONFIG, **more))
        )


def _kinds(messages: list[BaseMessage]) -> list[str]:
    return [message.type for message in messages]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("middleware", MIDDLEWARE)
def test_five_turns_store_what_was_said(upstash: LocalUpstash, middleware: str, way: str) -> None:
    chain = with_history(agent(middleware), lambda _: _history(upstash), **KEYS)
    for turn, question in enumerate(QUESTIONS, 1):
        before = upstash.stats
        WAYS[way](chain, {"messages": question})
        spent = upstash.stats - before
        assert (spent.requests, spent.commands) == (2, 3)
        stored = _history(upstash).messages
        assert _kinds(stored) == TURN * turn
    assert [message.content for message in stored if message.type == "human"] == QUESTIONS
    assert [message.content for message in stored[-3:]] == ["", "sunny in Rome", "It is sunny today."]
