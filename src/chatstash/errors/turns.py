"""Errors of turns, idempotency keys and closed stores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatstash.errors.base import ChatstashError


class IdempotencyConflict(ChatstashError, ValueError):
    """The idempotency key was used before, for other messages. This call stored nothing.

    Attributes:
        key: The conversation's key.
        idempotency_key: The idempotency key.
    """

    def __init__(self, key: str, idempotency_key: str) -> None:
        super().__init__(key, idempotency_key)
        self.key = key
        self.idempotency_key = idempotency_key

    def __str__(self) -> str:
        return (
            f"The idempotency key {self.idempotency_key!r} was already used in the conversation {self.key!r}, for "
            "other messages. Those are kept; this call stored nothing. Use a distinct key for each append."
        )


class ConcurrentTurn(ChatstashError):
    """Others changed a conversation during a guarded turn. This turn stored nothing.

    Attributes:
        key: The conversation's key.
        records: The records appended meanwhile, oldest first. If the conversation was cleared or shortened meanwhile:
            all its records that the turn had not read.
        messages: Their messages, for a turn of the LangChain class.
    """

    messages: Sequence[Any] = ()

    def __init__(self, key: str, records: Sequence[Any] = ()) -> None:
        super().__init__(key, records)
        self.key = key
        self.records = records

    def __str__(self) -> str:
        return (
            f"Others changed the conversation {self.key!r} during this turn (new records: {len(self.records)}). "
            "This turn stored nothing. Read the error's `records` or `messages`, then start the turn again."
        )


class ReplyNotStored(ChatstashError, ValueError):
    """`with_history` could not store the reply of a run. Nothing was stored; `reply` holds the reply.

    Either the reply cannot be converted to messages, or the history failed with an error that cannot carry the reply:
    that error is then the `__cause__`.
    """


class ReplyGone(ChatstashError):
    """The event was answered before, and its messages were trimmed or cleared since. Nothing was called or stored.

    Attributes:
        idempotency_key: The key of the event.
    """

    def __init__(self, idempotency_key: str) -> None:
        super().__init__(idempotency_key)
        self.idempotency_key = idempotency_key

    def __str__(self) -> str:
        return (
            f"The event {self.idempotency_key!r} was answered before, and its messages were trimmed or cleared since. "
            "The model was not called, and nothing was stored. Use another idempotency_key to get a new answer."
        )


class StoreClosed(ChatstashError, RuntimeError):
    """The store was used after it was closed. Nothing was sent."""
