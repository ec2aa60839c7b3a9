"""Errors of single records: stored ones that cannot be read, and messages that cannot be stored."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any

from chatstash.errors.base import ChatstashError, one_line


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

    key: str = ""
    position: int = 0
    raw: bytes = b""
    reason: str = ""
    records: Sequence[Any] = ()
    messages: Sequence[Any] = ()
    further: Sequence[UnreadableRecord] = ()

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

    def __init__(self, reason: str, *, key: str = "", position: int = 0, raw: bytes = b"") -> None:
        super().__init__(reason)
        self.reason = reason
        self.key = key
        self.position = position
        self.raw = raw

    def __str__(self) -> str:
        return self._message("Run `chatstash doctor` to inspect and repair the conversation.")


class UnsupportedRecord(UnreadableRecord):
    """A newer version of chatstash wrote a stored record. Nothing was changed.

    Attributes:
        version: The record's version of the stored form.
    """

    def __init__(self, version: object, *, key: str = "", position: int = 0, raw: bytes = b"") -> None:
        super().__init__(version)
        self.version = version
        self.reason = f"this version of chatstash does not know records of version {reprlib.repr(version)}"
        self.key = key
        self.position = position
        self.raw = raw

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
        where = f" at {self.path}" if self.path else ""
        which = "" if self.index is None else f"Message {self.index}{where}: "
        return one_line(f"{which}{self.reason}. No message was sent or stored.")


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
