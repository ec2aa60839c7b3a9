"""The roots of the error tree, and how an error says what happened to the data."""

from __future__ import annotations

import enum
from typing import Any

__all__ = [
    "Applied",
    "ChatstashError",
    "ChatstashWarning",
    "InsecureConnectionWarning",
    "Outcome",
]


def one_line(text: str) -> str:
    """Replace unprintable characters by spaces, so that stored text cannot forge log lines or control a terminal."""
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


class Applied(enum.Enum):
    """Whether a failed request changed anything."""

    NO = "Nothing was changed by this request."
    PARTIALLY = "Other commands of the same request were applied."
    UNKNOWN = "It is unknown whether the write was applied."


class Outcome(enum.Enum):
    """The outcome of a write whose reply was lost, as `check_outcome` finds it."""

    STORED = "stored"
    """It was applied: the messages are stored, or the conversation was cleared."""

    NOT_STORED = "not stored"
    """It was not applied, and cannot be applied later."""

    STILL_POSSIBLE = "still possible"
    """It was not applied so far, but the request may still be in flight."""


class ChatstashError(Exception):
    """Base class of all errors about stored data and the database.

    Attributes:
        reply: Set by `with_history`: the output of the run whose turn was not stored. None elsewhere.
    """

    reply: Any = None


class ChatstashWarning(UserWarning):
    """Base class of all warnings."""


class InsecureConnectionWarning(ChatstashWarning):
    """The url is plain http to another machine: the token travels unencrypted."""
