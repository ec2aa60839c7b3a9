"""Conversations as the real libraries write them, and graphs without a network."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

CALL: Any = {"name": "search", "args": {"query": "naïve 😀"}, "id": "call_1", "type": "tool_call"}
TURNS: list[BaseMessage] = [
    SystemMessage("You are terse."),
    HumanMessage("Hello", id="h1"),
    AIMessage("", tool_calls=[CALL], id="a1"),
    ToolMessage("42", tool_call_id="call_1"),
    AIMessage("It is 42."),
    HumanMessage("ok"),
    HumanMessage("ok"),
]


def contents(messages: list[BaseMessage]) -> list[Any]:
    """Return what the messages say, without their ids."""
    return [
        (message.type, message.content, getattr(message, "tool_calls", []), getattr(message, "tool_call_id", None))
        for message in messages
    ]


def config_of(thread_id: str) -> Any:
    return {"configurable": {"thread_id": thread_id}}


def copies(messages: list[BaseMessage]) -> list[BaseMessage]:
    """Return copies for a graph, which gives the messages of its input ids."""
    return [message.model_copy() for message in messages]
