"""Operations as generators, and the retry schedule. Pure: nothing here opens a socket, sleeps or reads a clock.

An operation yields a `Batch` and is sent its `Replies`, or has the `DatabaseError` thrown into it. Each workflow is
so written once for sync and async, and tested without any I/O. `retrying` stands between an operation and the
driver that runs it: it decides which failures are tried again, and yields a `Pause` before that.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias, TypeVar

from chatstash.errors import (
    Applied,
    ConnectionFailed,
    DatabaseError,
    OutcomeUnknown,
    OutcomeUnknownAfterBadReply,
    OutcomeUnknownAfterConnectionLoss,
    OutcomeUnknownAfterServerError,
    OutcomeUnknownAfterTimeout,
    ProtocolError,
    RateLimited,
    ReplyFormatRefused,
    RequestTimeout,
    ServerError,
)
from chatstash.rest.commands import Batch, Cost, Replies

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait `seconds`; the driver answers whether it did, or could not within the operation's deadline."""

    seconds: float


Op: TypeAlias = Generator[Batch, Replies, T]
DrivenOp: TypeAlias = Generator[Batch | Pause, Any, T]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Which failures are tried again, how often and after how long.

    Tried again is what passes by itself (no connection, a timeout, 5xx, 429), and of that, a write only where it
    certainly was not applied. The pauses grow exponentially with full jitter
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), and are at least what the server
    asked for with Retry-After.

    Attributes:
        retries: How often a batch is sent again at most.
        first_pause: Upper bound of the first pause, in seconds; it doubles with each.
        longest_pause: Upper bound of any pause, in seconds.
        jitter: Gives a random number from 0 to 1.
    """

    retries: int = 3
    first_pause: float = 0.1
    longest_pause: float = 2.0
    jitter: Callable[[], float] = random.random

    def pause_after(self, attempt: int, error: DatabaseError) -> float | None:
        """Return how many seconds to wait before trying again, or None where it is not to be tried again."""
        if attempt >= self.retries or not _passes_by_itself(error) or error.applied is not Applied.NO:
            return None
        # The exponent is bounded: 2**1024 does not fit a float.
        bound = min(self.longest_pause, self.first_pause * 2.0 ** min(attempt, 30))
        return max(self.jitter() * bound, error.retry_after or 0.0)


def _passes_by_itself(error: DatabaseError) -> bool:
    return isinstance(error, (ConnectionFailed, RequestTimeout, ServerError, RateLimited))


def retrying(op: Op[T], policy: RetryPolicy) -> DrivenOp[T]:
    """Run `op`, sending its batches again where `policy` says so, and throwing into it what could not be mended."""
    resume: Callable[[], Batch] = partial(next, op)
    while True:
        try:
            batch = resume()
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        try:
            resume = partial(op.send, (yield from _attempts(batch, policy)))
        except DatabaseError as error:
            resume = partial(op.throw, error)


def _attempts(batch: Batch, policy: RetryPolicy) -> DrivenOp[Replies]:
    attempt = 0
    format_refused = False
    while True:
        try:
            replies: Replies = yield batch
        except ReplyFormatRefused:
            # The transport has taken note, and asks for another format from now on.
            if format_refused:
                raise
            format_refused = True
        except DatabaseError as error:
            pause = policy.pause_after(attempt, error)
            if pause is None or not (yield Pause(pause)):
                raise _as_known(error) from error.__cause__
            attempt += 1
        else:
            return replace(replies, cost=replies.cost + Cost(requests=attempt))


_UNKNOWN_AFTER: tuple[tuple[type[DatabaseError], type[OutcomeUnknown]], ...] = (
    (RequestTimeout, OutcomeUnknownAfterTimeout),
    (ConnectionFailed, OutcomeUnknownAfterConnectionLoss),
    (ServerError, OutcomeUnknownAfterServerError),
    (ProtocolError, OutcomeUnknownAfterBadReply),
)


def _as_known(error: DatabaseError) -> DatabaseError:
    """Return the error to raise: `OutcomeUnknown` where a write may have been applied."""
    if error.applied is not Applied.UNKNOWN:
        return error
    kind = next(unknown for cause, unknown in _UNKNOWN_AFTER if isinstance(error, cause))
    return kind(
        error.problem,
        status=error.status,
        server_text=error.server_text,
        applied=error.applied,
        retry_after=error.retry_after,
    )


def send(batch: Batch) -> Op[Replies]:
    """Send one batch from within an operation: `replies = yield from send(batch)`."""
    return (yield batch)
