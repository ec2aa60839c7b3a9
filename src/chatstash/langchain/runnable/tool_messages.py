"""Tool calls and their results among messages. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage


def call_ids(message: BaseMessage) -> list[str | None]:
    """Return the ids of the tool calls that a message makes, or of the call it answers."""
    if isinstance(message, ToolMessage):
        return [message.tool_call_id]
    return [call["id"] for call in message.tool_calls] if isinstance(message, AIMessage) else []


def answered_calls(messages: Iterable[BaseMessage]) -> list[BaseMessage]:
    """Return the messages whose tool calls all have results, and those results, each once, in their order."""
    each = list({message.id or id(message): message for message in messages}.values())
    results = {name for message in each if isinstance(message, ToolMessage) for name in call_ids(message)}
    callers = [message for message in each if isinstance(message, AIMessage) and results.issuperset(call_ids(message))]
    called = {name for message in callers for name in call_ids(message)}
    return [message for message in each if call_ids(message) and called.issuperset(call_ids(message))]


def removed_calls(
    updates: Iterable[BaseMessage], reply: Sequence[BaseMessage], generated_ids: Collection[str]
) -> list[BaseMessage]:
    """Return the tool calls of a run, with their results, that its graph removed from its state during the run."""
    ids = {message.id for message in reply}
    copies = {
        (message.type, name) for message in reply if message.id not in generated_ids for name in call_ids(message)
    }
    return [
        call
        for call in answered_calls(message for message in updates if message.id in generated_ids)
        if call.id not in ids and copies.isdisjoint((call.type, name) for name in call_ids(call))
    ]
