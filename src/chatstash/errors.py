"""Every exception and warning of chatstash, as one tree.

```text
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
    │   │   └── GatewayError          408, or 5xx of a proxy: its body is not Upstash's (also a ProtocolError)
    │   ├── ConnectionFailed          no connection, or it broke (also a builtin ConnectionError)
    │   ├── RequestTimeout            no whole reply within the time allowed (also a builtin TimeoutError)
    │   ├── ProtocolError             a reply that is not Upstash's REST API
    │   ├── ConversationChanged       others changed a conversation while it was read in pages, or since its cursor
    │   └── OutcomeUnknown            a write whose reply was lost: it may or may not have been applied.
    │                                 Always raised as one of its children, each also of the kind of the
    │                                 cause (…AfterTimeout is also a RequestTimeout, and so on).
    ├── UnreadableRecord              a stored record that cannot be read; brings those that can
    │   ├── CorruptRecord             it is damaged, or not a record at all (also a ValueError)
    │   └── UnsupportedRecord         it is of a newer form than this version knows
    ├── UnstorableMessage             a value that JSON cannot hold, or not a message (also a TypeError)
    ├── RecordTooLarge                one message alone is over the size of a request (also a ValueError)
    ├── IdempotencyConflict           an idempotency key that was used for other messages (also a ValueError)
    ├── ConcurrentTurn                others appended during a guarded turn; brings what they appended
    ├── ReplyNotStored                a reply that `with_history` cannot store; brings it (also a ValueError)
    ├── ReplyGone                     an event was answered before, and the answer is no longer stored
    └── StoreClosed                   a store used after its close() (also a RuntimeError)

    ChatstashWarning (UserWarning)
    └── InsecureConnectionWarning     the token travels unencrypted
```

Arguments that are wrong in themselves (an empty session id, a ttl of zero) are plain ValueErrors, raised before
anything is sent.
"""

from __future__ import annotations

import enum
import reprlib
import time
from collections.abc import Sequence
from typing import Any, ClassVar

__all__ = [
    "Applied",
    "BadCredentials",
    "ChatstashError",
    "ChatstashWarning",
    "CommandRejected",
    "ConcurrentTurn",
    "ConnectionFailed",
    "ConversationChanged",
    "CorruptRecord",
    "DatabaseError",
    "GatewayError",
    "IdempotencyConflict",
    "InsecureConnectionWarning",
    "Outcome",
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
    "RecordTooLarge",
    "ReplyGone",
    "ReplyNotStored",
    "RequestTimeout",
    "RequestTooLarge",
    "ServerError",
    "StoreClosed",
    "UnreadableRecord",
    "UnstorableMessage",
    "UnsupportedRecord",
    "WrongType",
]


def _one_line(text: str) -> str:
    """Return a text that begins no second line in a log and steers no terminal, whatever stored text it names."""
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


class Applied(enum.Enum):
    """Whether a request that failed changed anything."""

    NO = "Nothing was changed by this request."
    PARTIALLY = "Other commands of the same request were applied."
    UNKNOWN = "Whether the write was applied is not known."


class Outcome(enum.Enum):
    """The outcome of a write whose reply was lost, as far as it is known now."""

    STORED = "stored"
    """It was applied: the messages are stored, or the conversation was cleared."""

    NOT_STORED = "not stored"
    """It was not applied, and no longer can be."""

    STILL_POSSIBLE = "still possible"
    """It was not applied so far, and the request may still be on its way."""


class ChatstashError(Exception):
    """Base of everything chatstash raises about data or the database.

    Attributes:
        reply: The output of the run whose turn could not be stored, where `with_history` raises; else None.
    """

    reply: Any = None


class DatabaseError(ChatstashError):
    """A request to the database failed.

    Attributes:
        problem: What was wrong, in words.
        status: The HTTP status, or None where there was no reply.
        server_text: The server's own words, or None.
        applied: Whether the request changed anything, as far as can be known.
        retry_after: Seconds the server asked to wait before another try, or None.
        cost: What its requests cost, a `chatstash.Cost`, where that is known.
        lasting: Whether trying again soon will probably fail as well, as with a host name that does not exist or a
            certificate that is not accepted.
    """

    advice: ClassVar[str] = ""
    cost: Any = None
    lasting: bool = False

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

    advice = (
        "Shorten or clear the conversation, keep large contents elsewhere, or take a plan with larger limits: "
        "https://upstash.com/docs/redis/troubleshooting/max_request_size_exceeded"
    )


class QuotaExceeded(DatabaseError):
    """The plan's monthly commands or its storage are used up; trying again does not help."""

    advice = "Raise the plan or the budget in the Upstash console, or delete old conversations."


class RateLimited(DatabaseError):
    """The server refused the request because there are too many (status 429)."""

    advice = "Try again later, or at a lower rate."


class WrongType(DatabaseError):
    """The key holds a value that is not a list, so it is not a conversation.

    The value was not changed. Nor was its expiry, unless the key held a list or nothing when this process last asked,
    minutes before: the message says then what was set and taken off again.

    Attributes:
        key: The key, where it is known.
    """

    key: str | None = None
    advice = "Use another key_prefix or session_id; the value that is there belongs to something else."


class CommandRejected(DatabaseError):
    """The database refused the command for a reason with no class of its own."""


class FormRefused(CommandRejected):
    """The server does not know the form of the request. Internal: the request is sent again in another form."""


class ReplyFormatRefused(FormRefused):
    """The server does not know the reply format asked for."""


class ScriptFlagsRefused(FormRefused):
    """The server does not know the flags in the first line of a script, as a Redis or Valkey that is not Upstash."""


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
    """A status of 408, or of 5xx with a body that is not Upstash's: a proxy or load balancer answered."""


class ConversationChanged(DatabaseError):
    """Others changed a conversation while it was read in pages, or since a cursor was made, so that pages do not join.

    While a large conversation is read, it is begun again a few times before this is raised.
    """

    advice = "Read it again, from the newest messages on."


class OutcomeUnknown(DatabaseError):
    """A write was sent and its reply was lost, so it may or may not have been applied.

    Asking again whether it was, and completing it, failed as well until the retries or the time were used up. The
    `check_outcome` of the history or session tells the outcome once the database can be reached again.

    Attributes:
        key: The conversation's key, or None where it is not known.
        record_ids: The ids of the records that an append would have stored; empty for any other write.
        marker: The key that the write sets in the same step, if it is a clear, or an append that is strict or has an
            idempotency key; None for any other.
        digest: With an idempotency key, what tells these records from others: the key may have been used for those.
    """

    key: str | None = None
    record_ids: Sequence[object] = ()
    marker: str | None = None
    digest: str = ""

    advice = "Ask check_outcome(error) for the outcome before you write the same again."

    def __init__(
        self,
        problem: str,
        *,
        status: int | None = None,
        server_text: str | None = None,
        applied: Applied = Applied.NO,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(problem, status=status, server_text=server_text, applied=applied, retry_after=retry_after)
        self._since = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since it was raised, by a clock that nobody can set.

        A copy, unpickled or not, begins at 0: another process has another clock, and its error must not seem older
        than it is.
        """
        return time.monotonic() - self._since

    def __setstate__(self, state: dict[str, Any] | None) -> None:
        super().__setstate__({name: value for name, value in (state or {}).items() if name != "_since"})


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


class UnreadableRecord(ChatstashError):
    """A stored record that cannot be read. Nothing was changed; the record is still there.

    Attributes:
        key: The conversation's key.
        position: Its place in the conversation, 0 for the oldest message.
        raw: The stored bytes.
        reason: What is wrong with it.
        records: The records of the conversation that can be read, oldest first.
        messages: Their messages, where they were read through LangChain's interface.
        further: The errors of the other records that cannot be read, oldest first.
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
        """The errors of all records that cannot be read, this one included, oldest first."""
        return (self, *self.further)

    @property
    def _rest(self) -> str:
        """What is said of the other records."""
        if not self.records and not self.further:
            return ""
        more = f" {len(self.further)} more cannot be read." if self.further else ""
        return (
            f"{more} The {len(self.records)} that can be read are in the error's records; on_corrupt='skip' or "
            "'placeholder' reads on without an error."
        )


class CorruptRecord(UnreadableRecord, ValueError):
    """A stored record that is damaged, or no record at all. Nothing was changed; it is still there."""

    def __init__(self, reason: str, *, key: str = "", position: int = 0, raw: bytes = b"") -> None:
        super().__init__(reason)
        self.reason = reason
        self.key = key
        self.position = position
        self.raw = raw

    def __str__(self) -> str:
        return _one_line(
            f"The record at position {self.position} (0 is the oldest) of key {self.key!r} cannot be read: "
            f"{self.reason}. It is still stored; `chatstash doctor` shows it and repairs the conversation.{self._rest}"
        )


class UnsupportedRecord(UnreadableRecord):
    """A stored record of a newer form than this version of chatstash knows. Nothing was changed.

    Attributes:
        version: The form the record names.
    """

    def __init__(self, version: object, *, key: str = "", position: int = 0, raw: bytes = b"") -> None:
        super().__init__(version)
        self.version = version
        self.reason = f"it is of form {version!r}, which this version of chatstash does not know"
        self.key = key
        self.position = position
        self.raw = raw

    def __str__(self) -> str:
        return (
            f"The record at position {self.position} (0 is the oldest) of key {self.key!r} is of form "
            f"{reprlib.repr(self.version)}, which this version of chatstash does not know. Nothing was changed. "
            f"A newer chatstash wrote it: upgrade this one.{self._rest}"
        )


class UnstorableMessage(ChatstashError, TypeError):
    """A message that cannot be stored so that it can be read back. Nothing was sent.

    Attributes:
        index: The message's index in the sequence given; None where what was given is no sequence of messages.
        path: Where the value is within the message, as in `additional_kwargs['when']`; empty for the message itself.
    """

    def __init__(self, reason: str, *, index: int | None = 0, path: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.index = index
        self.path = path

    def __str__(self) -> str:
        where = f" at {self.path}" if self.path else ""
        which = "" if self.index is None else f"Message {self.index}{where}: "
        return _one_line(f"{which}{self.reason}. No message was sent or stored.")


class RecordTooLarge(ChatstashError, ValueError):
    """One message alone is over the size of a request. Nothing was stored.

    Attributes:
        index: The message's index in the sequence given.
        size: What its request would have, in bytes.
        limit: What a request may have, in bytes.
    """

    def __init__(self, index: int, size: int, limit: int) -> None:
        super().__init__(index, size, limit)
        self.index = index
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        return (
            f"Message {self.index} alone makes a request of {self.size} bytes; the limit is {self.limit}. No message "
            "was stored. Keep large contents elsewhere and store a reference, or give max_request_bytes= if "
            "your plan permits more."
        )


class IdempotencyConflict(ChatstashError, ValueError):
    """An idempotency key was used before, for other messages. Nothing was stored by this call.

    Attributes:
        key: The conversation's key.
        idempotency_key: The key that was used before.
    """

    def __init__(self, key: str, idempotency_key: str) -> None:
        super().__init__(key, idempotency_key)
        self.key = key
        self.idempotency_key = idempotency_key

    def __str__(self) -> str:
        return (
            f"The idempotency key {self.idempotency_key!r} was used before in the conversation {self.key!r}, for other "
            "messages. Those are kept; nothing was stored by this call. Use one key for each distinct append."
        )


class ConcurrentTurn(ChatstashError):
    """Others changed a conversation during a guarded turn. Nothing was stored by this turn.

    Attributes:
        key: The conversation's key.
        records: The records that were appended meanwhile, oldest first; of a conversation that was cleared or
            shortened meanwhile, all it has now that the turn had not read.
        messages: Their messages, where the turn is one of LangChain's interface.
    """

    messages: Sequence[Any] = ()

    def __init__(self, key: str, records: Sequence[Any] = ()) -> None:
        super().__init__(key, records)
        self.key = key
        self.records = records

    def __str__(self) -> str:
        return (
            f"Others changed the conversation {self.key!r} during this turn (new records: {len(self.records)}). "
            "This turn stored nothing. The new messages are in the error's records or messages: look at them, then "
            "begin the turn again."
        )


class ReplyNotStored(ChatstashError, ValueError):
    """A run of `with_history` returned a reply that cannot be stored; `reply` has it. Nothing was stored.

    The reply has a form that cannot be made into messages; or the history failed with an error that cannot carry the
    reply, and that error is the cause.
    """


class ReplyGone(ChatstashError):
    """An event was answered before, and its messages were trimmed or cleared since. Nothing was asked or stored.

    Attributes:
        idempotency_key: The key of the event.
    """

    def __init__(self, idempotency_key: str) -> None:
        super().__init__(idempotency_key)
        self.idempotency_key = idempotency_key

    def __str__(self) -> str:
        return (
            f"The event {self.idempotency_key!r} was answered before, and its messages were trimmed or cleared since. "
            "The model was not asked again, and nothing was stored. To answer it anew, use another idempotency_key."
        )


class StoreClosed(ChatstashError, RuntimeError):
    """A store, or a history that shares it, was used after the store was closed. Nothing was sent."""


class ChatstashWarning(UserWarning):
    """Base of the warnings chatstash gives."""


class InsecureConnectionWarning(ChatstashWarning):
    """The url is plain http to a host that is not this machine: the token travels unencrypted."""
