"""The history of a run, selected by its config. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, cast

from langchain_core.messages import BaseMessage
from langchain_core.runnables import ConfigurableFieldSpec

_SESSION_ID = ConfigurableFieldSpec(
    id="session_id",
    annotation=str,
    name="Session ID",
    description="Unique identifier for a session.",
    default="",
    is_shared=True,
)


class MessageHistory(Protocol):
    """The part of `BaseChatMessageHistory` that a run uses."""

    @property
    def messages(self) -> list[BaseMessage]:
        """All messages, oldest first."""

    async def aget_messages(self) -> list[BaseMessage]:
        """Return all messages, oldest first."""

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Append messages in their order."""

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Append messages in their order."""


HistoryFactory = Callable[..., MessageHistory | Awaitable[MessageHistory]]
"""Returns the history for the fields of a config; `get_session_history` of `with_history`."""


class HistoryProvider:
    """Provides the history of each run: calls the user's function with one field, or with several by keyword."""

    def __init__(self, get_session_history: HistoryFactory, fields: Sequence[ConfigurableFieldSpec] | None) -> None:
        if not callable(get_session_history):
            raise ValueError(f"get_session_history must be callable, not {type(get_session_history).__name__}")
        self.fields = list(fields or [_SESSION_ID])
        if not all(isinstance(field, ConfigurableFieldSpec) for field in self.fields):
            raise ValueError("history_factory_config must be a list of ConfigurableFieldSpec")
        self._factory = get_session_history
        self._takes_nothing = _check_parameters(get_session_history, [field.id for field in self.fields])

    def get(self, configurable: Mapping[str, Any]) -> MessageHistory:
        """Return the history for a config's `configurable`."""
        found = self._call(configurable)
        if inspect.isawaitable(found):
            if inspect.iscoroutine(found):
                found.close()
            raise ValueError(
                "get_session_history is async def, and this run is blocking. Nothing was read or stored. "
                "Call ainvoke, astream or abatch, or pass a function that is not async."
            )
        return _checked_history(found)

    async def aget(self, configurable: Mapping[str, Any]) -> MessageHistory:
        """Return the history as `get` does; the function may be `async def`."""
        found = self._call(configurable)
        return _checked_history(await found if inspect.isawaitable(found) else found)

    def _call(self, configurable: Mapping[str, Any]) -> Any:
        if self._takes_nothing:
            return self._factory()
        names = [field.id for field in self.fields]
        if missing := sorted(set(names) - set(configurable)):
            example = {"configurable": dict.fromkeys(missing, "...")}
            raise ValueError(
                f"config['configurable'] lacks {', '.join(map(repr, missing))}. Nothing was read or stored. "
                f"Pass it with the call: chain.invoke(input, {example})."
            )
        values = {name: configurable[name] for name in names}
        return self._factory(*values.values()) if len(values) == 1 else self._factory(**values)


def _check_parameters(factory: Callable[..., Any], names: list[str]) -> bool:
    """Tell whether a function takes no arguments at all; raise ValueError if it does not take the fields."""
    try:
        signature = inspect.signature(factory)
    except (ValueError, TypeError):
        return False  # some functions written in C have no signature
    if not signature.parameters and len(names) == 1:
        return True
    try:
        signature.bind(*names) if len(names) == 1 else signature.bind(**dict.fromkeys(names))
    except TypeError:
        how = "" if len(names) == 1 else " by keyword"
        raise ValueError(
            f"get_session_history{signature} cannot be called with {', '.join(names)}{how}. Name its parameters in "
            "history_factory_config=[ConfigurableFieldSpec(id=..., annotation=str), ...]."
        ) from None
    return False


def _checked_history(found: Any) -> MessageHistory:
    if not hasattr(found, "add_messages"):
        raise ValueError(
            f"get_session_history must return a chat message history, not {type(found).__name__}. "
            "Nothing was read or stored."
        )
    return cast("MessageHistory", found)
