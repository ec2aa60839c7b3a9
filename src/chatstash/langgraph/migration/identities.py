"""Gives messages the ids by which threads tell them apart. Pure.

A thread knows a message by its id, so importing a conversation twice must give the same ids:

- A message keeps its own id. If two messages of a conversation have the same one, the second gets another, because a
  thread would keep only one of them.
- Otherwise, the id is derived from the id of its record.
- Records of other libraries have no id. For them, it is derived from the conversation's key, the stored bytes, and how
  many older records have the same bytes. So it stays the same when the conversation grows, or loses its oldest records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256
from uuid import UUID, uuid5

from langchain_core.messages import BaseMessage, BaseMessageChunk, message_chunk_to_message

from chatstash.history.records.encoding import canonical_json
from chatstash.history.records.record import Record

_NAMESPACE = UUID("6d1f0c5e-9a37-4c58-8b1c-0b8c7c3f2e51")

_TOLD_APART_BY = ("type", "content", "name", "tool_calls", "tool_call_id")
"""What messages of a thread without ids are told apart by: not fields that other versions of LangChain may add."""


def identified(messages: Iterable[BaseMessage], records: Iterable[Record], key: str) -> list[BaseMessage]:
    """Return messages of a conversation with distinct ids, as a thread holds them.

    Chunks become whole messages. Requests to remove a message are left out: they are not part of a conversation.
    """
    derived = _Derived(key)
    used: set[str] = set()
    found: list[BaseMessage] = []
    for message, record in zip(messages, records, strict=True):
        if message.type == "remove":
            continue
        derived_id = derived.id_of(record)
        message_id = message.id if message.id and message.id not in used else derived_id
        used.add(message_id)
        found.append(_with_id(message, message_id))
    return found


def identified_in_thread(messages: Sequence[BaseMessage], thread_id: str) -> list[BaseMessage]:
    """Return messages of a thread, with ids for those that have none."""
    seen: Counter[str] = Counter()
    found: list[BaseMessage] = []
    for message in messages:
        content = repr([getattr(message, name, None) for name in _TOLD_APART_BY])
        seen[content] += 1
        found.append(message if message.id else _with_id(message, _id_of("thread", thread_id, content, seen[content])))
    return found


class _Derived:
    """Derives the ids of a conversation's records, oldest first."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._seen: Counter[str] = Counter()

    def id_of(self, record: Record) -> str:
        """Return the id of the next record."""
        if record.id is not None:
            return _id_of("record", str(record.id))
        content = sha256(record.raw or canonical_json(record).encode()).hexdigest()
        self._seen[content] += 1
        return _id_of("content", self._key, content, self._seen[content])


def _id_of(*parts: object) -> str:
    return str(uuid5(_NAMESPACE, "\n".join(map(str, parts))))


def _with_id(message: BaseMessage, message_id: str) -> BaseMessage:
    whole = message_chunk_to_message(message) if isinstance(message, BaseMessageChunk) else message
    return whole if whole.id == message_id else whole.model_copy(update={"id": message_id})
