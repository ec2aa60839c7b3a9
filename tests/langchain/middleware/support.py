"""Agents with `ChatHistoryMiddleware` and scripted models, and ways to run them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import BaseMessage
from pydantic import Field

from chatstash.langchain import ChatHistoryMiddleware
from chatstash.local import LocalUpstash
from tests.langchain.runnable.agents import Scripted, weather
from tests.langchain.support import collect

SESSION: dict[str, Any] = {"configurable": {"session_id": "s"}}
THREAD: dict[str, Any] = {"configurable": {"session_id": "s", "thread_id": "t"}}
TURN = ["human", "ai", "tool", "ai"]


class Watched(Scripted):
    """Notes what it was sent."""

    sent: list[list[BaseMessage]] = Field(default_factory=list)

    def _reply(self, messages: list[BaseMessage]) -> Any:
        self.sent.append(list(messages))
        return super()._reply(messages)

    @property
    def last(self) -> list[tuple[str, Any]]:
        """Type and content of each message of the last call."""
        return [(message.type, message.content) for message in self.sent[-1]]


def memory(upstash: LocalUpstash, **options: Any) -> ChatHistoryMiddleware:
    return ChatHistoryMiddleware(**{"url": upstash.url, "token": upstash.token, "ttl": 60, **options})


def agent(upstash: LocalUpstash, *middleware: Any, model: Any = None, tools: Any = (weather,), **options: Any) -> Any:
    """Make an agent with memory and, after it, other middleware."""
    return create_agent(model or Watched(), list(tools), middleware=[memory(upstash), *middleware], **options)


def _way(name: str, **more: Any) -> Callable[[Any, Any, Any], Any]:
    def go(runnable: Any, value: Any, config: Any = SESSION) -> Any:
        result = getattr(runnable, name)(value, config, **more)
        if hasattr(result, "__anext__"):
            return asyncio.run(collect(result))
        if inspect.iscoroutine(result):
            return asyncio.run(result)
        return list(result) if hasattr(result, "__next__") else result

    return go


MODES: list[dict[str, Any]] = [
    {"stream_mode": "values"},
    {"stream_mode": "updates", "subgraphs": True},
    {"stream_mode": "messages"},
    {"stream_mode": "custom"},
    {"stream_mode": ["values", "updates", "messages", "custom"]},
]
WAYS: dict[str, Callable[..., Any]] = {
    "invoke": _way("invoke"),
    "ainvoke": _way("ainvoke"),
    "events": _way("astream_events", version="v2"),
    **{f"stream {mode['stream_mode']}": _way("stream", **mode) for mode in MODES},
    **{f"astream {mode['stream_mode']}": _way("astream", **mode) for mode in MODES},
}
COLOURS = {"sync": WAYS["invoke"], "async": WAYS["ainvoke"]}
