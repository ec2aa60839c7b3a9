"""Every exception and warning of chatstash, as one tree.

::

    ChatstashError
    ├── DatabaseError                 the database, or the way to it, did not do what was asked
    │   ├── BadCredentials            the token is missing, wrong or revoked
    │   ├── ReadOnlyToken             the token may not run this command
    │   ├── RequestTooLarge           over the plan's request, record or key size
    │   ├── QuotaExceeded             monthly commands or storage used up
    │   ├── RateLimited               too many requests at once; `retry_after` seconds when the server says
    │   ├── WrongType                 the key holds something that is not a list
    │   ├── CommandRejected           any other refusal by the database
    │   ├── ServerError               status 5xx, or a database that is loading or busy
    │   │   └── GatewayError          5xx with a body that is not Upstash's: a proxy answered (also a ProtocolError)
    │   ├── ConnectionFailed          no connection, or it broke (also a builtin ConnectionError)
    │   ├── RequestTimeout            no whole reply within the time allowed (also a builtin TimeoutError)
    │   ├── ProtocolError             a reply that is not Upstash's REST API
    │   └── OutcomeUnknown            a write whose reply was lost: it may or may not have been applied.
    │                                 Always raised as one of its children, each also of the kind of the
    │                                 cause (…AfterTimeout is also a RequestTimeout, and so on).
    ├── CorruptRecord                 a stored record that cannot be read (also a ValueError)
    ├── UnsupportedRecord             a stored record of a newer form than this version knows
    ├── UnstorableMessage             a value that JSON cannot hold, or not a message (also a TypeError)
    └── StoreClosed                   a store used after its close() (also a RuntimeError)

    ChatstashWarning (UserWarning)
    └── InsecureConnectionWarning     the token travels unencrypted

Arguments that are wrong in themselves (an empty session id, a ttl of zero) are plain ValueErrors, raised before
anything is sent.
"""

from __future__ import annotations

import enum
import reprlib
from collections.abc import Sequence
from typing import ClassVar

__all__ = [
    "Applied",
    "BadCredentials",
    "ChatstashError",
    "ChatstashWarning",
    "CommandRejected",
    "ConnectionFailed",
    "CorruptRecord",
    "DatabaseError",
    "GatewayError",
    "InsecureConnectionWarning",
    "OutcomeUnknown",
    "OutcomeUnknownAfterBadReply",
    "OutcomeUnknownAfterConnectionLoss",
    "OutcomeUnknownAfterGatewayError",
    "OutcomeUnknownAfterServerError",
    "OutcomeUnknownAfterTimeout",
    "ProtocolError",
    "QuotaExceeded",
    "RateLimited",
    "ReadOnlyToken",
    "RequestTimeout",
    "RequestTooLarge",
    "ServerError",
    "StoreClosed",
    "UnstorableMessage",
    "UnsupportedRecord",
    "WrongType",
]


def _one_line(text: str) -> str:
    """Return a text that begins no second line in a log and steers no terminal, whatever stored text it names."""
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


class Applied(enum.Enum):
    """What became of the request that failed."""

    NO = "Nothing was changed by this request."
    PARTLY = "Other commands of the same request were applied."
    UNKNOWN = "Whether the write was applied is not known."


class ChatstashError(Exception):
    """Base of everything chatstash raises about data or the database."""


class DatabaseError(ChatstashError):
    """A request to the database failed.

    Attributes:
        problem: What was wrong, in words.
        status: The HTTP status, or None where there was no reply.
        server_text: The server's own words, or None.
        applied: Whether the request changed anything, as far as can be known.
        retry_after: Seconds the server asked to wait before another try, or None.
    """

    advice: ClassVar[str] = ""

    def __init__(
        self,
        problem: str,
        *,
        status: int | None = None,
        server_text: str | None = None,
        applied: Applied = Applied.NO,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.status = status
        self.server_text = server_text
        self.applied = applied
        self.retry_after = retry_after

    def __str__(self) -> str:
        said = f" (the server said: {self.server_text})" if self.server_text else ""
        return _one_line(" ".join(filter(None, (f"{self.problem}{said}.", self.applied.value, self.advice))))


class BadCredentials(DatabaseError):
    """The token is missing, wrong or revoked (status 401)."""

    advice = "Check UPSTASH_REDIS_REST_TOKEN and that it belongs to the database of UPSTASH_REDIS_REST_URL."


class ReadOnlyToken(DatabaseError):
    """The token may not run this command: it is the read-only one, or an ACL forbids it."""

    advice = "Use the database's standard token for writing."


class RequestTooLarge(DatabaseError):
    """The request, its reply, a record or a key is over the plan's size limit."""

    advice = "Send less at once, or see the limits of your plan: https://upstash.com/docs/redis/troubleshooting/max_request_size_exceeded"


class QuotaExceeded(DatabaseError):
    """The plan's monthly commands or its storage are used up; trying again does not help."""

    advice = "Raise the plan or the budget in the Upstash console, or delete old conversations."


class RateLimited(DatabaseError):
    """The server refused the request because there are too many (status 429)."""

    advice = "Try again later, or at a lower rate."


class WrongType(DatabaseError):
    """The key holds a value that is not a list, so it is not a conversation.

    Attributes:
        key: The key, where it is known.
    """

    key: str | None = None
    advice = "Use another key_prefix or session_id; the value that is there belongs to something else."


class CommandRejected(DatabaseError):
    """The database refused the command for a reason with no class of its own."""


class ReplyFormatRefused(CommandRejected):
    """The server does not know the reply format asked for. Within the package: it is asked again in another."""


class ConnectionFailed(DatabaseError, ConnectionError):
    """No connection could be made, or it broke before the whole reply was there."""

    advice = "Check the url, the network and proxy settings, and that the server runs."


class RequestTimeout(DatabaseError, TimeoutError):
    """There was no whole reply within the time allowed."""

    advice = "Try again, or allow more time with timeout= (seconds)."


class ProtocolError(DatabaseError):
    """The reply is not one of Upstash's REST API."""

    advice = "Check that the url is the database's REST URL and that no proxy or login page answers in its place."


class ServerError(DatabaseError):
    """The server answered with a status of 5xx, or the database is loading or busy."""

    advice = "Try again later; https://status.upstash.com tells of outages."


class GatewayError(ServerError, ProtocolError):
    """A status of 5xx with a body that is not Upstash's: a proxy or load balancer answered."""


class OutcomeUnknown(DatabaseError):
    """A write was sent and its reply was lost, so it may or may not have been applied.

    It was not sent again, for that could store it twice.

    Attributes:
        key: The conversation's key, or None where it is not known.
        rids: The ids of the records that an append would have stored; empty for any other write.
    """

    key: str | None = None
    rids: Sequence[object] = ()

    advice = "Read the conversation before writing the same again."


class OutcomeUnknownAfterTimeout(OutcomeUnknown, RequestTimeout):
    """A write with no whole reply within the time allowed."""


class OutcomeUnknownAfterConnectionLoss(OutcomeUnknown, ConnectionFailed):
    """A write whose connection broke before the whole reply was there."""


class OutcomeUnknownAfterServerError(OutcomeUnknown, ServerError):
    """A write that was answered with a status of 5xx."""


class OutcomeUnknownAfterGatewayError(OutcomeUnknownAfterServerError, GatewayError):
    """A write that was answered with a status of 5xx by something before the database."""


class OutcomeUnknownAfterBadReply(OutcomeUnknown, ProtocolError):
    """A write that was answered with something that is not Upstash's REST API."""


class CorruptRecord(ChatstashError, ValueError):
    """A stored record that cannot be read as a message. Nothing was changed; the record is still there.

    Attributes:
        reason: What is wrong with it.
        key: The conversation's key.
        position: Its place in the conversation, 0 for the oldest message.
        raw: The stored bytes.
    """

    def __init__(self, reason: str, *, key: str = "", position: int = 0, raw: bytes = b"") -> None:
        super().__init__(reason)
        self.reason = reason
        self.key = key
        self.position = position
        self.raw = raw

    def __str__(self) -> str:
        return _one_line(
            f"The record at position {self.position} (0 is the oldest) of key {self.key!r} cannot be read: "
            f"{self.reason}. Nothing was changed. Look at it with LINDEX and index {-1 - self.position}."
        )


class UnsupportedRecord(ChatstashError):
    """A stored record of a newer form than this version of chatstash knows. Nothing was changed.

    Attributes:
        version: The form the record names.
        key: The conversation's key.
        position: Its place in the conversation, 0 for the oldest message.
    """

    def __init__(self, version: object, *, key: str = "", position: int = 0) -> None:
        super().__init__(version)
        self.version = version
        self.key = key
        self.position = position

    def __str__(self) -> str:
        return (
            f"The record at position {self.position} (0 is the oldest) of key {self.key!r} is of form "
            f"{reprlib.repr(self.version)}, which this version of chatstash does not know. Nothing was changed. "
            "A newer chatstash wrote it: upgrade this one."
        )


class UnstorableMessage(ChatstashError, TypeError):
    """A message that cannot be stored so that it can be read back. Nothing was sent.

    Attributes:
        index: The message's index in the sequence given.
        path: Where the value is within the message, as in `additional_kwargs['when']`; empty for the message itself.
    """

    def __init__(self, reason: str, *, index: int = 0, path: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.index = index
        self.path = path

    def __str__(self) -> str:
        where = f" at {self.path}" if self.path else ""
        return _one_line(f"Message {self.index}{where}: {self.reason}. No message was sent or stored.")


class StoreClosed(ChatstashError, RuntimeError):
    """A store, or a history that shares it, was used after the store was closed. Nothing was sent."""


class ChatstashWarning(UserWarning):
    """Base of the warnings chatstash gives."""


class InsecureConnectionWarning(ChatstashWarning):
    """The url is plain http to a host that is not this machine: the token travels unencrypted."""
