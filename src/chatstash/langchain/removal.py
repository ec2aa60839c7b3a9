"""Handles `RemoveMessage` among the messages to add.

It keeps LangChain's meaning, and removes the message with its id
(https://docs.langchain.com/oss/python/langgraph/add-memory#delete-messages). Stored, it would make a conversation
unreadable to LangChain.js.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from langchain_core.messages import BaseMessage, RemoveMessage

from chatstash.errors import UnstorableMessage
from chatstash.history.session import Session

REMOVE_ALL = "__remove_all__"
"""The id of the message that removes all: langgraph's `REMOVE_ALL_MESSAGES`."""


@dataclass(frozen=True)
class Removal:
    """Messages to remove.

    Attributes:
        ids: Their ids.
    """

    ids: Sequence[str]

    def run(self, session: Session[BaseMessage]) -> None:
        """Remove them."""
        session.delete_messages(*self.ids)

    async def arun(self, session: Session[BaseMessage]) -> None:
        """Remove them without blocking the event loop."""
        await session.adelete_messages(*self.ids)


@dataclass(frozen=True)
class Replacement:
    """Messages that replace a whole conversation.

    Attributes:
        messages: The messages.
    """

    messages: Sequence[BaseMessage]

    def run(self, session: Session[BaseMessage]) -> None:
        """Replace the conversation."""
        session.replace(self.messages)

    async def arun(self, session: Session[BaseMessage]) -> None:
        """Replace the conversation without blocking the event loop."""
        await session.areplace(self.messages)


def removal_in(given: Sequence[BaseMessage], *, has_options: bool) -> Removal | Replacement:
    """Return the removal or replacement among the messages to add, of which one at least is a RemoveMessage."""
    removing = [message for message in given if isinstance(message, RemoveMessage)]
    if has_options:
        raise UnstorableMessage("RemoveMessage takes neither an idempotency_key nor metadata", index=None)
    if REMOVE_ALL in [message.id for message in removing]:
        last = max(
            at for at, message in enumerate(given) if isinstance(message, RemoveMessage) and message.id == REMOVE_ALL
        )
        following = given[last + 1 :]
        if not any(isinstance(message, RemoveMessage) for message in following):
            return Replacement(following)
    if len(removing) < len(given) or not all(message.id for message in removing):
        raise UnstorableMessage(
            "messages to remove and messages to add cannot be in one call: they would not be one step. Remove first, "
            "with delete_messages, then add",
            index=None,
        )
    return Removal([str(message.id) for message in removing])
