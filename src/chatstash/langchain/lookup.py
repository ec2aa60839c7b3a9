"""Which history a run is about, from its config. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

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


class HistoryLookup:
    """Finds the history of a run.

    Args:
        get_session_history: Makes a history, of the one field's value, or of several by keyword.
        fields: The fields of `config["configurable"]` that say which; None for `session_id` alone.

    Raises:
        ValueError: It is not callable, or its parameters are not those fields.
    """

    def __init__(
        self, get_session_history: Callable[..., MessageHistory], fields: Sequence[ConfigurableFieldSpec] | None
    ) -> None:
        if not callable(get_session_history):
            raise ValueError(f"get_session_history must be callable, not a {type(get_session_history).__name__}")
        self.fields = list(fields) if fields else [_SESSION_ID]
        self._make = get_session_history
        self._parameters = list(inspect.signature(get_session_history).parameters)
        names = [field.id for field in self.fields]
        if len(names) > 1 and set(names) != set(self._parameters):
            raise ValueError(
                f"get_session_history has the parameters {sorted(self._parameters)}, but history_factory_config has "
                f"the fields {sorted(names)}; they must be the same"
            )

    def find(self, configurable: Mapping[str, Any]) -> MessageHistory:
        """Return the history that a config's `configurable` names.

        Raises:
            ValueError: It lacks a field.
        """
        if not self._parameters:
            return self._make()
        names = [field.id for field in self.fields]
        if missing := sorted(set(names) - set(configurable)):
            raise ValueError(_lacks(missing))
        values = {name: configurable[name] for name in names}
        return self._make(*values.values()) if len(values) == 1 else self._make(**values)


def _lacks(missing: list[str]) -> str:
    example = {"configurable": dict.fromkeys(missing, "...")}
    return (
        f"config['configurable'] lacks {', '.join(map(repr, missing))}, which says whose conversation it is. "
        f"Give it with the call: chain.invoke(input, {example}). Nothing was read or stored."
    )
