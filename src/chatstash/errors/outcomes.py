"""Errors of writes whose reply was lost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from chatstash.errors.database import (
    ConnectionFailed,
    DatabaseError,
    GatewayError,
    ProtocolError,
    RequestTimeout,
    ServerError,
)


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
