"""Operations as generators, and the retries around them. Pure: nothing here opens a socket, sleeps or reads a clock.

An operation yields a `Batch` and is sent its `Replies`, or has the `DatabaseError` thrown into it. Each workflow is
so written once for sync and async, and tested without any I/O. `retrying` stands between an operation and the
driver that runs it: it decides which failures are tried again, and yields a `Pause` before that.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias, TypeVar

from chatstash.errors import (
    Applied,
    ConnectionFailed,
    DatabaseError,
    GatewayError,
    OutcomeUnknown,
    OutcomeUnknownAfterBadReply,
    OutcomeUnknownAfterConnectionLoss,
    OutcomeUnknownAfterGatewayError,
    OutcomeUnknownAfterServerError,
    OutcomeUnknownAfterTimeout,
    ProtocolError,
    ReplyFormatRefused,
    RequestTimeout,
    ServerError,
)
from chatstash.rest.commands import Batch, Cost, Effect, Replies
from chatstash.rest.limits import RetryPolicy

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait `seconds`; the driver answers whether it did, or could not within the operation's deadline."""

    seconds: float


Op: TypeAlias = Generator[Batch, Replies, T]
DrivenOp: TypeAlias = Generator[Batch | Pause, Any, T]


def send(batch: Batch) -> Op[Replies]:
    """Send one batch from within an operation: `replies = yield from send(batch)`."""
    return (yield batch)


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
    attempt = format_refused = 0
    while True:
        try:
            replies: Replies = yield batch
        except ReplyFormatRefused:
            # The driver has taken note, and asks for another format from now on.
            if format_refused:
                raise
            format_refused = 1
        except DatabaseError as error:
            pause = policy.pause_after(attempt, error, batch.effect)
            if pause is None or not (yield Pause(pause)):
                raise _as_known(error, batch.effect) from error.__cause__
            attempt += 1
        else:
            return replace(replies, cost=replies.cost + Cost(requests=attempt + format_refused))


def _as_known(error: DatabaseError, effect: Effect) -> DatabaseError:
    """Return the error to raise, by what the batch does: the one place where a lost reply is judged."""
    if error.applied is not Applied.UNKNOWN:
        return error
    if effect is Effect.WRITE:
        return _unknown_outcome(error)
    if effect is Effect.READ:
        error.applied = Applied.NO
    return error


_UNKNOWN_AFTER: tuple[tuple[type[DatabaseError], type[OutcomeUnknown]], ...] = (
    (RequestTimeout, OutcomeUnknownAfterTimeout),
    (ConnectionFailed, OutcomeUnknownAfterConnectionLoss),
    (GatewayError, OutcomeUnknownAfterGatewayError),
    (ServerError, OutcomeUnknownAfterServerError),
    (ProtocolError, OutcomeUnknownAfterBadReply),
)


def _unknown_outcome(error: DatabaseError) -> OutcomeUnknown:
    kind = next(unknown for cause, unknown in _UNKNOWN_AFTER if isinstance(error, cause))
    return kind(
        error.problem,
        status=error.status,
        server_text=error.server_text,
        applied=error.applied,
        retry_after=error.retry_after,
    )
