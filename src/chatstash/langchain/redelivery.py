"""What a redelivered event is answered with: the stored reply, in the form the runnable would give. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable

from chatstash.langchain.alignment import split_output, text_of
from chatstash.langchain.inputs_outputs import Keys


def replayed(
    runnable: Runnable[Any, Any], keys: Keys, question: Sequence[BaseMessage], stored: Sequence[BaseMessage]
) -> Any:
    """Return the reply among the stored messages of a turn, as the runnable's output schema has it.

    A str is the text of the last message of the AI; a message is that message; a list or the state of an agent has all
    messages of the reply. Where the schema does not say, it is the message.

    Args:
        runnable: What would have answered.
        keys: Where its dicts hold messages.
        question: The messages of the input.
        stored: The messages that were stored with the idempotency key; at least one.
    """
    reply = list(stored[split_output(question, stored) :])
    schema = _schema_of(runnable)
    properties = schema.get("properties", {})
    is_message = {"content", "type"} <= set(properties)
    if keys.output is None and (is_message or schema.get("type") != "object"):
        return _formed(reply, schema)
    key = keys.output or next((name for name in ("output", "messages") if name in properties), None)
    key = key or next(iter(properties), "output")
    return {key: _formed(reply, properties.get(key) or {"type": "array"})}


def _formed(reply: list[BaseMessage], schema: Mapping[str, Any]) -> Any:
    if schema.get("type") == "array":
        return reply
    answers = [message for message in reply if isinstance(message, AIMessage)]
    last = (answers or reply or [AIMessage("")])[-1]
    return text_of(last) if schema.get("type") == "string" else last


def _schema_of(runnable: Runnable[Any, Any]) -> Mapping[str, Any]:
    try:
        return runnable.get_output_jsonschema()
    except (TypeError, ValueError, RuntimeError, AttributeError):
        return {}  # a type that has no schema
