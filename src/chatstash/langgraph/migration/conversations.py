"""Reads the whole of a stored conversation for an import or an export."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from langchain_core.messages import BaseMessage

from chatstash.calls import Call, Calls
from chatstash.errors import UnreadableRecord
from chatstash.history.codec import read_result
from chatstash.history.operations.contents import Contents
from chatstash.history.session import Session
from chatstash.langchain.history import UpstashRedisChatMessageHistory
from chatstash.langgraph.migration.identities import identified

OnUnreadable = Literal["raise", "skip"]


class Conversation(NamedTuple):
    """A conversation as it is stored.

    Attributes:
        messages: Its messages, with their ids in threads, oldest first.
        unreadable: The errors of records that were left out.
        contents: Its records.
    """

    messages: list[BaseMessage]
    unreadable: Sequence[UnreadableRecord]
    contents: Contents


def session_of(history: UpstashRedisChatMessageHistory) -> Session[BaseMessage]:
    """Return the conversation of a history, or raise ValueError if it is another kind of history."""
    if not isinstance(history, UpstashRedisChatMessageHistory):
        raise ValueError(
            f"history must be a chatstash.UpstashRedisChatMessageHistory, not {type(history).__name__}. For a "
            "conversation that another class stored in Upstash Redis, make one with its session id and key prefix"
        )
    return history.session()


def read_conversation(session: Session[BaseMessage], on_corrupt: OnUnreadable) -> Calls[Conversation]:
    """Read a conversation and change nothing.

    Raises:
        UnreadableRecord: A record cannot be read, and `on_corrupt` is `raise`.
    """
    contents: Contents = yield Call(session, "run", (session.reading_unchanged(),))
    unreadable: Sequence[UnreadableRecord] = ()
    try:
        result = read_result(contents, session.codec, session.key, "raise")
    except UnreadableRecord as error:
        if on_corrupt == "raise":
            raise
        unreadable = error.unreadable
        result = read_result(contents, session.codec, session.key, "skip")
    return Conversation(identified(result.items, result.records, session.key), unreadable, contents)
