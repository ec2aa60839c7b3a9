"""Errors of stored records, of messages that cannot be stored, and of turns."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any, Literal

from chatstash.errors.base import ChatstashError, one_line

__all__ = [
    "ConcurrentTurn",
    "ConversationExists",
    "CorruptRecord",
    "IdempotencyConflict",
    "MessageNotFound",
    "RecordTooLarge",
    "ReplyGone",
    "ReplyNotStored",
    "SessionNotFound",
    "StoreClosed",
    "UnreadableRecord",
    "UnstorableMessage",
    "UnsupportedRecord",
]


class UnreadableRecord(ChatstashError):
    """A stored record cannot be read. Nothing was changed; the record is still stored.

    Attributes:
        key: The conversation's key.
        position: The record's position in the conversation; 0 is the oldest.
        raw: The stored bytes.
        reason: What is wrong with the record.
        records: The readable records of the conversation, oldest first.
        messages: Their messages, when read through the LangChain class.
        further: The errors of the other unreadable records, oldest first.
    """

    records: Sequence[Any] = ()
    messages: Sequence[Any] = ()
    further: Sequence[UnreadableRecord] = ()

    def __init__(self, reason: str, *, key: str = "", position: int = 0, raw: bytes = b"") -> None:
        super().__init__(reason)
        self.reason = reason
        self.key = key
        self.position = position
        self.raw = raw

    @property
    def unreadable(self) -> Sequence[UnreadableRecord]:
        """The errors of all unreadable records, including this one, oldest first."""
        return (self, *self.further)

    def _message(self, advice: str) -> str:
        where = f"record at position {self.position} (0 is the oldest) of key {self.key!r}"
        return one_line(f"Cannot read the {where}: {self.reason}. It is still stored. {advice}{self._others()}")

    def _others(self) -> str:
        if not self.records and not self.further:
            return ""
        more = f" {len(self.further)} more are unreadable." if self.further else ""
        return (
            f"{more} The error's `records` holds the {len(self.records)} readable ones; with on_corrupt='skip' or "
            "'placeholder' a read does not raise."
        )


class CorruptRecord(UnreadableRecord, ValueError):
    """A stored record is damaged, or is not a record. Nothing was changed; it is still stored."""

    def __str__(self) -> str:
        return self._message("Run `chatstash doctor` to inspect and repair the conversation.")


class UnsupportedRecord(UnreadableRecord):
    """A newer version of chatstash wrote a stored record. Nothing was changed.

    Attributes:
        version: The record's version of the stored form.
    """

    def __init__(self, version: object, *, key: str = "", position: int = 0, raw: bytes = b"") -> None:
        reason = f"this version of chatstash does not know records of version {reprlib.repr(version)}"
        super().__init__(reason, key=key, position=position, raw=raw)
        self.args = (version,)
        self.version = version

    def __str__(self) -> str:
        return self._message("Upgrade chatstash: a newer version wrote it.")


class UnstorableMessage(ChatstashError, TypeError):
    """A message cannot be stored so that it reads back unchanged. Nothing was sent.

    Attributes:
        index: The message's index in the given sequence; None if the argument is not a sequence of messages.
        path: The path of the value in the message, such as `additional_kwargs['when']`; empty for the message itself.
    """

    def __init__(self, reason: str, *, index: int | None = 0, path: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.index = index
        self.path = path

    def __str__(self) -> str:
        of_message = [] if self.index is None else [f"Message {self.index}"]
        where = " at ".join([*of_message, *([self.path] if self.path else [])])
        which = f"{where}: " if where else ""
        unsent = "Nothing" if self.index is None else "No message"
        return one_line(f"{which}{self.reason}. {unsent} was sent or stored.")


class RecordTooLarge(ChatstashError, ValueError):
    """One message exceeds the size of a request. Nothing was stored.

    Attributes:
        index: The message's index in the given sequence.
        size: Size of a request that holds only this message, in bytes.
        limit: Maximum size of a request, in bytes.
    """

    def __init__(self, index: int, size: int, limit: int) -> None:
        super().__init__(index, size, limit)
        self.index = index
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        return (
            f"Message {self.index} alone makes a request of {self.size} bytes; the limit is {self.limit}. No message "
            "was stored. Store large contents elsewhere and keep a reference, or raise max_request_bytes= if your plan "
            "permits it."
        )


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


class MessageNotFound(ChatstashError, LookupError):
    """The conversation has no message, or no alternative, with this id. Nothing was changed.

    Attributes:
        id: The id that was given; None if a record without an id was given, or the conversation is empty.
        key: The conversation's key.
        kind: "message" or "alternative".
    """

    def __init__(self, id: object, key: str, kind: Literal["message", "alternative"] = "message") -> None:  # noqa: A002 - the name of what is missing
        super().__init__(id, key, kind)
        self.id = id
        self.key = key
        self.kind = kind

    def __str__(self) -> str:
        has_not = (
            "is empty, or has no such message"
            if self.id is None
            else f"has no {self.kind} with the id {str(self.id)!r:.200}"
        )
        current = "`alternatives()`" if self.kind == "alternative" else "`records()`"
        return one_line(
            f"The conversation {self.key!r} {has_not}. Nothing was changed. "
            f"Others may have edited it since you read it: {current} returns the current ids."
        )


class SessionNotFound(ChatstashError, LookupError):
    """The session does not exist, or is not on the session index. Nothing was changed.

    Attributes:
        session_id: The session.
        user_id: The user it should belong to, or None.
    """

    def __init__(self, session_id: str, user_id: str | None = None) -> None:
        super().__init__(session_id, user_id)
        self.session_id = session_id
        self.user_id = user_id

    def __str__(self) -> str:
        owner = "" if self.user_id is None else f" of the user {self.user_id!r:.200}"
        index = "Store(index=True).reindex()" if self.user_id is None else "Store.reindex()"
        return one_line(
            f"There is no session {self.session_id!r:.200}{owner}. Nothing was changed. It may have expired or been "
            f"deleted, or have no message yet. If it was stored without an index, {index} lists it."
        )


class ConversationExists(ChatstashError, ValueError):
    """A conversation with this key exists already. Nothing was changed.

    Attributes:
        key: The key.
        report: For an import of several conversations, the `ImportReport` of those before this one; else None.
    """

    report: Any = None

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key

    def __str__(self) -> str:
        return one_line(
            f"A conversation with the key {self.key!r} exists already. Nothing was changed. Use another session id, or "
            "delete that conversation first."
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
