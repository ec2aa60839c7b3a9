"""Errors of requests to the database. Messages say what is wrong, what happened to the data, and what to do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar

from chatstash.errors.base import Applied, ChatstashError, one_line

__all__ = [
    "BadCredentials",
    "CommandRejected",
    "ConnectionFailed",
    "ConversationChanged",
    "DatabaseError",
    "GatewayError",
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
    "WrongType",
]


class DatabaseError(ChatstashError):
    """A request to the database failed.

    Attributes:
        problem: What is wrong, in words.
        status: The HTTP status; None without a reply.
        server_text: The server's own message, or None.
        applied: Whether the request changed anything.
        retry_after: Seconds the server asks to wait before a retry, or None.
        cost: The `chatstash.Cost` of its requests, or None if unknown.
        lasting: Whether a retry will probably fail too, as for an unknown host name or a rejected certificate.
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
        return one_line(" ".join(filter(None, (f"{self.problem}{said}.", self.applied.value, self.advice))))


class BadCredentials(DatabaseError):
    """The token is missing, wrong or revoked (status 401)."""

    advice = "Check that UPSTASH_REDIS_REST_TOKEN belongs to the database at UPSTASH_REDIS_REST_URL."


class ReadOnlyToken(DatabaseError):
    """The token may not run this command: it is the read-only token, or an ACL forbids the command."""

    advice = "Use the database's standard token for writing."


class RequestTooLarge(DatabaseError):
    """The request, its reply, a record or a key exceeds the plan's size limit."""

    advice = (
        "Shorten or clear the conversation, store large contents elsewhere, or choose a plan with larger limits: "
        "https://upstash.com/docs/redis/troubleshooting/max_request_size_exceeded"
    )


class QuotaExceeded(DatabaseError):
    """The plan's monthly commands or its storage are used up. Retrying does not help."""

    advice = "Raise the plan or the budget in the Upstash console, or delete old conversations."


class RateLimited(DatabaseError):
    """The server refused the request because there were too many (status 429)."""

    advice = "Retry later, or send fewer requests per second."


class WrongType(DatabaseError):
    """The key holds a value that is not a list, so it is not a conversation. The value was not changed.

    An append may have set an expiry on the value and removed it again, if the key held a list, or nothing, a few
    minutes before. The message then says so.

    Attributes:
        key: The key, or None if it is unknown.
    """

    key: str | None = None
    advice = "Use another key_prefix or session_id: the key belongs to other data."


class CommandRejected(DatabaseError):
    """The database refused the command for a reason that has no class."""


class ConnectionFailed(DatabaseError, ConnectionError):
    """No connection could be made, or it broke before the reply was complete."""

    advice = "Check the url, the network and the proxy settings, and that the server is running."


class RequestTimeout(DatabaseError, TimeoutError):
    """No complete reply arrived in time."""

    advice = "Retry, or allow more time with timeout= (seconds)."


class ProtocolError(DatabaseError):
    """The reply does not follow Upstash's REST API."""

    advice = "Check that the url is the database's REST URL, and that no proxy or login page answers in its place."


class ServerError(DatabaseError):
    """The server answered with a status of 5xx, or the database is loading or busy."""

    advice = "Retry later. Outages are announced at https://status.upstash.com."


class GatewayError(ServerError, ProtocolError):
    """A proxy or load balancer answered: status 408, or 5xx with a body that is not Upstash's."""


class ConversationChanged(DatabaseError):
    """Others changed a conversation between two pages, or since a cursor was made, so the pages do not join.

    A read of a large conversation restarts a few times before it raises this.
    """

    advice = "Read it again, beginning with the newest messages."


class OutcomeUnknown(DatabaseError):
    """A write was sent and its reply was lost: it may or may not have been applied.

    It is raised after the attempts to complete the write failed too, until the retries or the time were used up. The
    `check_outcome` of a history or session tells the outcome once the database can be reached again.

    Attributes:
        key: The conversation's key, or None if it is unknown.
        record_ids: The ids of the records to append; empty for other writes.
        marker: The marker key that a clear, a strict append or an append with an idempotency key sets; None for others.
        digest: With an idempotency key, a digest of the records: the key may have been used for others.
    """

    key: str | None = None
    record_ids: Sequence[object] = ()
    marker: str | None = None
    digest: str = ""

    advice = "Call check_outcome(error) before you write the same again."

    def __init__(self, problem: str, **details: Any) -> None:
        super().__init__(problem, **details)
        self._since = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since the error was raised, by the monotonic clock.

        A copied or unpickled error starts at 0, because another process has another clock: it must not seem older than
        it is.
        """
        return time.monotonic() - self._since

    def __setstate__(self, state: dict[str, Any] | None) -> None:
        super().__setstate__({name: value for name, value in (state or {}).items() if name != "_since"})


class OutcomeUnknownAfterTimeout(OutcomeUnknown, RequestTimeout):
    """A write got no complete reply in time."""


class OutcomeUnknownAfterConnectionLoss(OutcomeUnknown, ConnectionFailed):
    """The connection of a write broke before the reply was complete."""


class OutcomeUnknownAfterServerError(OutcomeUnknown, ServerError):
    """A write was answered with a status of 5xx."""


class OutcomeUnknownAfterGatewayError(OutcomeUnknownAfterServerError, GatewayError):
    """A write was answered with a status of 5xx by a proxy in front of the database."""


class OutcomeUnknownAfterBadReply(OutcomeUnknown, ProtocolError):
    """The reply to a write does not follow Upstash's REST API."""
