"""Operations as generators, and their retries. Pure: nothing here opens a socket, sleeps or reads a clock.

An operation yields a `Batch` and receives its `Replies`, or a `DatabaseError` is thrown into it. So each workflow is
written once for sync and async, and tested without I/O. `retrying` wraps an operation for the driver that runs it: it
decides which failures are retried, and yields a `Pause` before each retry.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

from chatstash import errors
from chatstash.errors import DatabaseError
from chatstash.rest.commands import Batch, Effect, Replies
from chatstash.rest.limits import Budget
from chatstash.rest.protocol.requests import FormRefused

T = TypeVar("T")
YieldT = TypeVar("YieldT")
SendT = TypeVar("SendT")


class Pause(NamedTuple):
    """Asks the driver to wait `seconds`. It answers True, or False if the deadline does not allow a retry."""

    seconds: float


class Attempt(NamedTuple):
    """Asks the driver to send `batch`, and to leave time for another attempt unless this one `is_last`.

    With `whole_scripts`, no script is named by its digest.
    """

    batch: Batch
    is_last: bool
    whole_scripts: bool = False


Op: TypeAlias = Generator[Batch, Replies, T]
DrivenOp: TypeAlias = Generator[Attempt | Pause, Any, T]


def send(batch: Batch) -> Op[Replies]:
    """Send one batch in one request: `replies = yield from send(batch)` in an operation."""
    return (yield batch)


def intercept(op: Op[T], handle: Callable[[Batch], Generator[YieldT, SendT, Replies]]) -> Generator[YieldT, SendT, T]:
    """Run `op` and pass each of its batches to `handle`, whose replies or error it receives."""
    try:
        batch = next(op)
        while True:
            try:
                replies = yield from handle(batch)
            except (DatabaseError, errors.StoreClosed) as error:
                batch = op.throw(error)
            else:
                batch = op.send(replies)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


def retrying(op: Op[T], budget: Budget) -> DrivenOp[T]:
    """Run `op`, retrying its batches within `budget`. The error of the last attempt is thrown into it."""
    return intercept(op, partial(_attempts, budget=budget))


def _attempts(batch: Batch, budget: Budget) -> DrivenOp[Replies]:
    sent = batch
    lost: DatabaseError | None = None
    refused: set[type[FormRefused]] = set()
    attempt = 0
    while True:
        try:
            replies: Replies = yield Attempt(sent, is_last=budget.is_last(attempt), whole_scripts=bool(refused))
        except FormRefused as error:
            # The driver now sends requests without this form.
            if type(error) in refused:
                raise _final_error(error, lost, batch.effect) from None
            refused.add(type(error))
        except errors.StoreClosed:
            if lost is None:
                raise
            unknown = _unknown_outcome(lost)
            unknown.problem += "; the store was closed before the write could be completed"
            raise unknown from lost.__cause__
        except DatabaseError as error:
            if sent.settlement is not None and error.applied is errors.Applied.UNKNOWN:
                sent, lost = sent.settlement(), error
            pause = budget.pause_after(attempt, error, sent.effect)
            if pause is None or not (yield Pause(pause)):
                raise _final_error(error, lost, batch.effect) from error.__cause__
            attempt += 1
        else:
            return replies if sent is batch else replies._replace(settled=True)


def _final_error(error: DatabaseError, lost: DatabaseError | None, effect: Effect) -> DatabaseError:
    """Return the error to raise. The only place that decides what a lost reply means.

    `lost` is the error of the attempt that may have been applied, if the last attempt sent its settlement.
    """
    if lost is not None:
        return _unsettled(error, lost)
    if error.applied is not errors.Applied.UNKNOWN:
        return error
    if effect is Effect.WRITE:
        return _unknown_outcome(error)
    if effect is Effect.READ:
        error.applied = errors.Applied.NO
    return error


def _unsettled(error: DatabaseError, lost: DatabaseError) -> DatabaseError:
    """Return the error of a write whose settlement failed too."""
    if isinstance(error, errors.WrongType):
        # The list commands of the write failed too, but other commands of its request may have been applied.
        error.applied = errors.Applied.UNKNOWN
        return error
    unknown = _unknown_outcome(lost)
    if error is not lost:
        unknown.problem += f"; completing the write failed too: {error.problem}"
        unknown.server_text = error.server_text or lost.server_text
    return unknown


_UNKNOWN_AFTER: tuple[tuple[type[DatabaseError], type[errors.OutcomeUnknown]], ...] = (
    (errors.RequestTimeout, errors.OutcomeUnknownAfterTimeout),
    (errors.ConnectionFailed, errors.OutcomeUnknownAfterConnectionLoss),
    (errors.GatewayError, errors.OutcomeUnknownAfterGatewayError),
    (errors.ServerError, errors.OutcomeUnknownAfterServerError),
    (errors.ProtocolError, errors.OutcomeUnknownAfterBadReply),
)


def _unknown_outcome(error: DatabaseError) -> errors.OutcomeUnknown:
    kind = next(unknown for cause, unknown in _UNKNOWN_AFTER if isinstance(error, cause))
    unknown = kind(error.problem, status=error.status, server_text=error.server_text, applied=error.applied)
    unknown.retry_after = error.retry_after
    return unknown
