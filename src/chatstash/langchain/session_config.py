"""Which history a run is about, from its config. Pure."""

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
    """What a run needs of a history; each `BaseChatMessageHistory` has it."""

    @property
    def messages(self) -> list[BaseMessage]:
        """All messages, oldest first."""

    async def aget_messages(self) -> list[BaseMessage]:
        """Return all messages, oldest first."""

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add messages in their order."""

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add messages in their order."""


HistoryFactory = Callable[..., MessageHistory | Awaitable[MessageHistory]]


class HistoryLookup:
    """Finds the history of a run.

    Args:
        get_session_history: Makes a history, of the one field's value, or of several by keyword; may be `async def`.
        fields: The fields of `config["configurable"]` that say which; None for `session_id` alone.

    Raises:
        ValueError: It is not callable, or cannot be called with those fields.
    """

    def __init__(self, get_session_history: HistoryFactory, fields: Sequence[ConfigurableFieldSpec] | None) -> None:
        if not callable(get_session_history):
            raise ValueError(f"get_session_history must be callable, not a {type(get_session_history).__name__}")
        self.fields = _checked_fields(fields)
        self._make = get_session_history
        self._takes_nothing = _check_parameters(get_session_history, [field.id for field in self.fields])

    def find(self, configurable: Mapping[str, Any]) -> MessageHistory:
        """Return the history that a config's `configurable` names.

        Raises:
            ValueError: It lacks a field, the function is `async def`, or what it returns is no history.
        """
        if inspect.iscoroutinefunction(self._make):
            raise ValueError(_ASYNC)
        found = self._made(configurable)
        if inspect.isawaitable(found):
            if inspect.iscoroutine(found):
                found.close()
            raise ValueError(_ASYNC)
        return _checked_history(found)

    async def afind(self, configurable: Mapping[str, Any]) -> MessageHistory:
        """Find as `find` does, and await what an `async def` returns.

        Raises:
            ValueError: It lacks a field, or what the function returns is no history.
        """
        found = self._made(configurable)
        return _checked_history(await found if inspect.isawaitable(found) else found)

    def _made(self, configurable: Mapping[str, Any]) -> Any:
        if self._takes_nothing:
            return self._make()
        names = [field.id for field in self.fields]
        if missing := sorted(set(names) - set(configurable)):
            raise ValueError(_lacks(missing))
        values = {name: configurable[name] for name in names}
        return self._make(*values.values()) if len(values) == 1 else self._make(**values)


_ASYNC = (
    "get_session_history is async def, and this run is blocking. Call ainvoke, astream or abatch, or give a plain "
    "function. Nothing was read or stored."
)


def _checked_fields(fields: Sequence[ConfigurableFieldSpec] | None) -> list[ConfigurableFieldSpec]:
    if not fields:
        return [_SESSION_ID]
    if not isinstance(fields, (list, tuple)) or not all(isinstance(each, ConfigurableFieldSpec) for each in fields):
        raise ValueError("history_factory_config must be a list of ConfigurableFieldSpec")
    return list(fields)


def _check_parameters(factory: Callable[..., Any], names: list[str]) -> bool:
    """Tell whether a function takes no arguments at all; raises ValueError where the fields are not those it takes."""
    try:
        signature = inspect.signature(factory)
    except (ValueError, TypeError):
        return False  # written in C: it does not say
    if not signature.parameters and len(names) == 1:
        return True
    try:
        signature.bind(*names) if len(names) == 1 else signature.bind(**dict.fromkeys(names))
    except TypeError:
        raise ValueError(_mismatch(signature, names)) from None
    return False


def _mismatch(signature: inspect.Signature, names: list[str]) -> str:
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    taken = [name for name, parameter in signature.parameters.items() if parameter.kind not in kinds]
    needed = [name for name in taken if signature.parameters[name].default is inspect.Parameter.empty]
    specs = ", ".join(f"ConfigurableFieldSpec(id={name!r}, annotation=str)" for name in needed or taken)
    given = f"one argument, {names[0]}" if len(names) == 1 else f"the arguments {', '.join(names)} by keyword"
    return (
        f"get_session_history takes {', '.join(taken) or 'nothing'}, but each run gives it {given}. Its parameters "
        f"and the fields must be the same. Name them: history_factory_config=[{specs}], and give each in "
        "config['configurable']."
    )


def _checked_history(found: Any) -> MessageHistory:
    if not hasattr(found, "add_messages"):
        raise ValueError(
            f"get_session_history must return a chat message history, not a {type(found).__name__}. "
            "Nothing was read or stored."
        )
    return cast("MessageHistory", found)


def _lacks(missing: list[str]) -> str:
    example = {"configurable": dict.fromkeys(missing, "...")}
    return (
        f"config['configurable'] lacks {', '.join(map(repr, missing))}, which says whose conversation it is. "
        f"Give it with the call: chain.invoke(input, {example}). Nothing was read or stored."
    )
