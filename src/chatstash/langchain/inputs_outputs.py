"""What runnables are given and give back <-> messages. Pure.

The shapes are those of langchain-core's `RunnableWithMessageHistory`:
https://python.langchain.com/api_reference/core/runnables/langchain_core.runnables.history.RunnableWithMessageHistory.html
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    convert_to_messages,
    message_chunk_to_message,
)
from langchain_core.runnables import Runnable

_DEEPEST = 20
"""How many wrappers of a runnable are looked through."""

_WANTED = "a str, a message, or a list or tuple of messages"

_STATE = "messages"
"""The key of messages in the state of an agent."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Where a runnable's dicts hold messages; each None where it has no such dict.

    Attributes:
        input: What was said now, in the input.
        output: The reply, in the output.
        history: What was said before, in the input of the runnable.

    Raises:
        ValueError: One is neither None nor a non-empty string.
    """

    input: str | None = None
    output: str | None = None
    history: str | None = None

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value):
                raise ValueError(f"{name}_messages_key must be a non-empty string or None, not {value!r}")

    def input_key_of(self, value: dict[Any, Any]) -> Any:
        """Return the key of a dict at which the messages said now are.

        Raises:
            ValueError: There is none.
        """
        others = {name: held for name, held in value.items() if name != self.history}
        return _key_in(others, self.input, "input")

    def output_key_of(self, value: dict[Any, Any], *, is_state: bool = False) -> Any:
        """Return the key of a dict at which the reply is.

        Args:
            value: The dict.
            is_state: Whether it is the state of a graph, whose messages are at `messages` unless a key is given.

        Raises:
            ValueError: There is none.
        """
        return _STATE if is_state and self.output is None and _STATE in value else _key_in(value, self.output, "output")


def _key_in(value: dict[Any, Any], given: str | None, usual: str) -> Any:
    if given is None and len(value) == 1:
        return next(iter(value))
    key = usual if given is None else given
    if key not in value:
        here = f"{usual}_messages_key="
        advice = f"give {here} to say where its messages are" if given is None else f"{here}{given!r} wants it"
        raise ValueError(
            f"the {usual} is a dict without the key {key!r}; its keys are {sorted(map(str, value))}, and {advice}. "
            "Nothing was stored."
        )
    return key


def input_messages(value: Any) -> list[BaseMessage]:
    """Return the messages of an input, or of what its dict holds at the key for messages.

    Raises:
        ValueError: It is none of the shapes, or an item of the list is nothing LangChain makes a message of.
    """
    if isinstance(value, str):
        return [HumanMessage(content=value)]
    if isinstance(value, BaseMessage):
        return [value]
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"the input must be {_WANTED}, not a {type(value).__name__}. Nothing was stored.")
    if len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    try:
        return convert_to_messages(list(value))
    except (NotImplementedError, ValueError) as error:
        raise ValueError(f"the input holds what is no message: it must be {_WANTED}. Nothing was stored.") from error


def output_messages(value: Any) -> list[BaseMessage]:
    """Return the messages of an output, or of what its dict holds at the key for messages; of chunks, whole ones.

    Raises:
        ValueError: It is none of the shapes.
    """
    if isinstance(value, str):
        return [AIMessage(content=value)]
    messages = [value] if isinstance(value, BaseMessage) else value
    if not isinstance(messages, (list, tuple)):
        raise ValueError(f"the output must be {_WANTED}, not a {type(value).__name__}. Nothing was stored.")
    for message in messages:
        if not isinstance(message, BaseMessage):
            raise ValueError(f"the output must be {_WANTED}; it holds a {type(message).__name__}. Nothing was stored.")
    return [message_chunk_to_message(message) for message in messages if not isinstance(message, RemoveMessage)]


def is_resumption(value: Any) -> bool:
    """Tell whether an input is langgraph's `Command`, which resumes a graph that waits for a person."""
    kind = type(value)
    return kind.__name__ == "Command" and kind.__module__.partition(".")[0] == "langgraph"


def is_graph(runnable: Runnable[Any, Any]) -> bool:
    """Tell whether what answers is a graph of langgraph, as an agent is: itself, wrapped, or as the last step."""
    for _ in range(_DEEPEST):
        parts = (getattr(runnable, name, None) for name in ("bound", "runnable", "default", "last"))
        inner = next((part for part in parts if isinstance(part, Runnable)), None)
        if inner is None:
            break
        runnable = inner
    return any(kind.__module__.startswith("langgraph.pregel") for kind in type(runnable).__mro__)


def interrupted(message: BaseMessage, text: str) -> AIMessage:
    """Return what to keep of a reply that was stopped: its text, marked as interrupted.

    Tool calls and reasoning are left out: cut off, or never followed by their results, they would make model providers
    refuse the conversation from then on.
    """
    metadata = {**message.response_metadata, "interrupted": True}
    return AIMessage(content=text, id=message.id, name=message.name, response_metadata=metadata)
