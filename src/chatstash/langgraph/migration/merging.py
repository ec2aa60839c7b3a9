"""Puts messages that a thread lacks at their places among those it has. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from langchain_core.messages import BaseMessage, ToolMessage, message_to_dict


def ids_of(messages: Sequence[BaseMessage]) -> set[str]:
    """Return the ids of messages."""
    return {message.id for message in messages if message.id}


def changed(
    wanted: Sequence[BaseMessage], present: Sequence[BaseMessage], as_stored: Callable[[BaseMessage], BaseMessage]
) -> dict[str, BaseMessage]:
    """Return, by id, the messages that are present with another content.

    Args:
        wanted: The messages of the conversation.
        present: The messages of the thread.
        as_stored: Returns a message as a checkpointer would return it: the text of some is changed by storing them.
    """
    known = {message.id: message for message in present}
    return {
        m.id: m for m in wanted if m.id and m.id in known and known[m.id] != m and _differ(known[m.id], as_stored(m))
    }


def _differ(one: BaseMessage, other: BaseMessage) -> bool:
    # NaN is not equal to itself, but looks the same.
    return one != other and repr(message_to_dict(one)) != repr(message_to_dict(other))


def replaced(present: Sequence[BaseMessage], changes: Mapping[str, BaseMessage]) -> list[BaseMessage]:
    """Return messages with those replaced that changed."""
    return [changes.get(message.id or "", message) for message in present]


def merged(
    present: Sequence[BaseMessage], wanted: Sequence[BaseMessage], missing: AbstractSet[str]
) -> list[BaseMessage]:
    """Return the messages of a thread with the missing ones, each after its predecessor in the conversation.

    Missing messages without a predecessor in the thread come first. None but results comes between a tool call of the
    thread and its results.

    Args:
        present: The messages of the thread.
        wanted: The messages of the conversation.
        missing: The ids of those to insert.
    """
    after = _by_predecessor(wanted, missing)
    waiting = after.pop("", [])
    result: list[BaseMessage] = []
    for message in present:
        if waiting and not _belongs_to_call_before(message, waiting):
            result += waiting
            waiting = []
        result.append(message)
        waiting += after.pop(message.id or "", [])
    return result + waiting


def _belongs_to_call_before(message: BaseMessage, waiting: Sequence[BaseMessage]) -> bool:
    """Tell whether a message is the result of a call that precedes the waiting messages."""
    if not isinstance(message, ToolMessage) or isinstance(waiting[0], ToolMessage):
        return False
    return not any(call["id"] == message.tool_call_id for one in waiting for call in getattr(one, "tool_calls", []))


def _by_predecessor(wanted: Sequence[BaseMessage], missing: AbstractSet[str]) -> dict[str, list[BaseMessage]]:
    """Return the missing messages by the id of the message that precedes them in the thread; "" for none."""
    found = defaultdict[str, list[BaseMessage]](list)
    predecessor = ""
    for message in wanted:
        if message.id in missing:
            found[predecessor].append(message)
        else:
            predecessor = message.id or ""
    return found
