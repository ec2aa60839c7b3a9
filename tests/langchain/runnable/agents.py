"""Scripted models, tools and middleware for agents of LangChain 1; imported only where that is installed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    ContextEditingMiddleware,
    PIIMiddleware,
    SummarizationMiddleware,
)
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langgraph.graph.message import REMOVE_ALL_MESSAGES

KEYS = {"input_messages_key": "messages"}
WHOLE = [("human", "weather?"), ("ai", ""), ("tool", "sunny in Rome")]


@tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sunny in {city}"


class Scripted(BaseChatModel):
    """Calls the tool for a question that asks for weather, and answers any other; token by token where it streams."""

    calls: int = 1
    made: int = 0

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _reply(self, messages: list[BaseMessage]) -> AIMessage:
        if "extract" in str(messages[-1].content).lower():
            return AIMessage("They spoke of the weather.")
        if not self.made and isinstance(messages[-1], HumanMessage) and "weather" not in str(messages[-1].content):
            return AIMessage("It is so.")
        if self.made < self.calls:
            self.made += 1
            return AIMessage("", tool_calls=[{"name": "weather", "args": {"city": "Rome"}, "id": f"call_{self.made}"}])
        self.made = 0
        return AIMessage("It is sunny today.")

    def _chunks(self, messages: list[BaseMessage]) -> Iterator[ChatGenerationChunk]:
        reply = self._reply(messages)
        if reply.tool_calls:
            calls = [
                {"name": call["name"], "args": json.dumps(call["args"]), "id": call["id"], "index": at}
                for at, call in enumerate(reply.tool_calls)
            ]
            yield ChatGenerationChunk(message=AIMessageChunk("", tool_call_chunks=calls))
        for word in str(reply.content).split(" ") if reply.content else []:
            yield ChatGenerationChunk(message=AIMessageChunk(word if word == "It" else f" {word}"))

    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in self._chunks(messages):
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._chunks(messages):
            await asyncio.sleep(0)
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._reply(messages))])


class Trimming(AgentMiddleware):
    """Keeps the newest messages, as LangChain's documentation shows it."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def before_model(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        messages = state["messages"]
        if len(messages) <= self.most:
            return None
        return {"messages": [RemoveMessage(REMOVE_ALL_MESSAGES), *messages[-self.most :]]}


class RedactingCopies(AgentMiddleware):
    """Replaces all messages by copies that are altered and have no ids."""

    def before_model(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        copies = [
            message.model_copy(update={"id": None, "content": str(message.content).replace("@", " at ")})
            for message in state["messages"]
        ]
        return {"messages": [RemoveMessage(REMOVE_ALL_MESSAGES), *copies]}


class Instructing(AgentMiddleware):
    """Puts a system message before the conversation and context after the question."""

    def before_agent(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        before = [SystemMessage("Be kind."), *state["messages"], HumanMessage("Context: the weather is fine.")]
        return {"messages": [RemoveMessage(REMOVE_ALL_MESSAGES), *before]}


def summarising(most: int, kept: int) -> SummarizationMiddleware:
    return SummarizationMiddleware(model=Scripted(), trigger=("messages", most), keep=("messages", kept))


MIDDLEWARE: dict[str, Callable[[], list[Any]]] = {
    "plain": list,
    "pii": lambda: [PIIMiddleware("email", apply_to_output=True, apply_to_tool_results=True)],
    "summary": lambda: [summarising(4, 2)],
    "summary of this turn": lambda: [summarising(3, 1)],
    "trimming": lambda: [Trimming(3)],
    "trimming this turn": lambda: [Trimming(2)],
    "copies": lambda: [RedactingCopies()],
    "instructions": lambda: [Instructing()],
    "editing": lambda: [ContextEditingMiddleware()],
    "all": lambda: [PIIMiddleware("email"), summarising(6, 3), Trimming(5)],
}


def agent(middleware: str = "plain", calls: int = 1) -> Any:
    return create_agent(Scripted(calls=calls), [weather], middleware=MIDDLEWARE[middleware]())
