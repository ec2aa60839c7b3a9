"""Inputs and outputs of runnables <-> messages. Pure.

The forms are those of langchain-core's `RunnableWithMessageHistory`:
https://python.langchain.com/api_reference/core/runnables/langchain_core.runnables.history.RunnableWithMessageHistory.html
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
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

_MAX_WRAPPERS = 20
_FORMS = "a str, a message, or a list or tuple of messages"

STATE_KEY = "messages"
"""The key of the messages in the state of an agent."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys at which a runnable's dicts hold messages, as `with_history` documents them; None without a dict."""

    input: str | None = None
    output: str | None = None
    history: str | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and not (isinstance(value, str) and value):
                raise ValueError(f"{name}_messages_key must be a non-empty string or None, not {value!r}")

    def input_key_of(self, value: dict[Any, Any]) -> Any:
        """Return the key of a dict input that holds the new messages; ValueError if it has no such key."""
        others = {name: held for name, held in value.items() if name != self.history}
        return _key_in(others, self.input, "input")

    def output_key_of(self, value: dict[Any, Any], *, is_state: bool = False) -> Any:
        """Return the key of a dict output that holds the reply; by default `messages` in the state of a graph."""
        is_default = is_state and self.output is None and STATE_KEY in value
        return STATE_KEY if is_default else _key_in(value, self.output, "output")


def _key_in(value: dict[Any, Any], given: str | None, default: str) -> Any:
    if given is None and len(value) == 1:
        return next(iter(value))
    key = default if given is None else given
    if key not in value:
        option = f"{default}_messages_key="
        advice = f"Set {option} to the key of its messages" if given is None else f"{option}{key!r} must be one of them"
        raise ValueError(
            f"the {default} is a dict without the key {key!r}; its keys are {sorted(map(str, value))}. "
            f"Nothing was stored. {advice}."
        )
    return key


def input_messages(value: Any) -> list[BaseMessage]:
    """Return the messages of an input, or of the value at its key; ValueError if its form is not supported."""
    if isinstance(value, str):
        return [HumanMessage(content=value)]
    if isinstance(value, BaseMessage):
        return [value]
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"the input must be {_FORMS}, not {type(value).__name__}. Nothing was stored.")
    if len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    try:
        return convert_to_messages(list(value))
    except (NotImplementedError, ValueError) as error:
        raise ValueError(f"the input must be {_FORMS}; an item is not a message. Nothing was stored.") from error


def output_messages(value: Any) -> list[BaseMessage]:
    """Return the messages of an output, or of the value at its key, as `input_messages`; chunks become whole."""
    if isinstance(value, str):
        return [AIMessage(content=value)]
    messages = [value] if isinstance(value, BaseMessage) else value
    if not isinstance(messages, (list, tuple)):
        raise ValueError(f"the output must be {_FORMS}, not {type(value).__name__}. Nothing was stored.")
    for message in messages:
        if not isinstance(message, BaseMessage):
            raise ValueError(f"the output must be {_FORMS}; it holds a {type(message).__name__}. Nothing was stored.")
    return [message_chunk_to_message(message) for message in messages if not isinstance(message, RemoveMessage)]


def is_resumption(value: Any) -> bool:
    """Tell whether an input is langgraph's `Command`, which resumes an interrupted graph."""
    kind = type(value)
    return kind.__name__ == "Command" and kind.__module__.partition(".")[0] == "langgraph"


def is_graph(runnable: Runnable[Any, Any]) -> bool:
    """Tell whether a runnable is a graph of langgraph, as agents are: itself, wrapped, or as the last step."""
    for _ in range(_MAX_WRAPPERS):
        parts = (getattr(runnable, name, None) for name in ("bound", "runnable", "default", "last"))
        inner = next((part for part in parts if isinstance(part, Runnable)), None)
        if inner is None:
            break
        runnable = inner
    return any(kind.__module__.startswith("langgraph.pregel") for kind in type(runnable).__mro__)
