"""The reply to a redelivered event: the stored messages, in the form of the runnable's output. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable

from chatstash.langchain.runnable.alignment import start_of_reply
from chatstash.langchain.runnable.inputs_outputs import Keys
from chatstash.langchain.runnable.message_views import text_of


def stored_reply(
    runnable: Runnable[Any, Any], keys: Keys, new_input: Sequence[BaseMessage], stored: Sequence[BaseMessage]
) -> Any:
    """Return the reply among the stored messages of a run, in the form of the runnable's output schema.

    A str is the text of the last AI message, and a message is that message. A list or the state of an agent has all
    messages of the reply. If the schema does not say, the reply is the last AI message.
    """
    reply = list(stored[start_of_reply(new_input, stored) :])
    try:
        schema: Mapping[str, Any] = runnable.get_output_jsonschema()
    except (TypeError, ValueError, RuntimeError, AttributeError):
        schema = {}  # not every type has a schema
    properties = schema.get("properties", {})
    is_message = {"content", "type"} <= set(properties)
    if keys.output is None and (is_message or schema.get("type") != "object"):
        return _in_form(reply, schema)
    key = keys.output or next((name for name in ("output", "messages") if name in properties), None)
    key = key or next(iter(properties), "output")
    return {key: _in_form(reply, properties.get(key) or {"type": "array"})}


def _in_form(reply: list[BaseMessage], schema: Mapping[str, Any]) -> Any:
    if schema.get("type") == "array":
        return reply
    answers = [message for message in reply if isinstance(message, AIMessage)]
    last = (answers or reply or [AIMessage("")])[-1]
    return text_of(last) if schema.get("type") == "string" else last
