"""Operations as generators, and the retries around them. Pure: nothing here opens a socket, sleeps or reads a clock.

An operation yields a `Batch` and is sent its `Replies`, or has the `DatabaseError` thrown into it. Each workflow is
so written once for sync and async, and tested without any I/O. `retrying` stands between an operation and the
driver that runs it: it decides which failures are tried again, and yields a `Pause` before that.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

from chatstash.errors import (
    Applied,
    ConnectionFailed,
    DatabaseError,
    FormRefused,
    GatewayError,
    OutcomeUnknown,
    OutcomeUnknownAfterBadReply,
    OutcomeUnknownAfterConnectionLoss,
    OutcomeUnknownAfterGatewayError,
    OutcomeUnknownAfterServerError,
    OutcomeUnknownAfterTimeout,
    ProtocolError,
    RequestTimeout,
    ServerError,
    StoreClosed,
    WrongType,
)
from chatstash.rest.commands import Batch, Cost, Effect, Replies
from chatstash.rest.limits import Budget

T = TypeVar("T")
YieldT = TypeVar("YieldT")
SendT = TypeVar("SendT")


class Pause(NamedTuple):
    """Wait `seconds`; the driver answers whether it did, or could not within the operation's deadline."""

    seconds: float


class Attempt(NamedTuple):
    """Send `batch`, and give up early enough for another attempt unless this one `is_last`."""

    batch: Batch
    is_last: bool


Op: TypeAlias = Generator[Batch, Replies, T]
DrivenOp: TypeAlias = Generator[Attempt | Pause, Any, T]


def send(batch: Batch) -> Op[Replies]:
    """Send one batch from within an operation: `replies = yield from send(batch)`."""
    return (yield batch)


def answering(op: Op[T], answer: Callable[[Batch], Generator[YieldT, SendT, Replies]]) -> Generator[YieldT, SendT, T]:
    """Run `op`; `answer` gives the replies to each of its batches, or raises what is thrown into `op`."""
    resume: Callable[[], Batch] = partial(next, op)
    while True:
        try:
            batch = resume()
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        try:
            resume = partial(op.send, (yield from answer(batch)))
        except (DatabaseError, StoreClosed) as error:
            resume = partial(op.throw, error)


def retrying(op: Op[T], budget: Budget) -> DrivenOp[T]:
    """Run `op`, sending its batches again within `budget`, and throwing into it what could not be mended."""
    return answering(op, partial(_attempts, budget=budget))


def _attempts(batch: Batch, budget: Budget) -> DrivenOp[Replies]:
    sent = batch
    spent = Cost()
    lost: DatabaseError | None = None
    refused: set[type[FormRefused]] = set()
    attempt = 0
    while True:
        try:
            replies: Replies = yield Attempt(sent, is_last=budget.is_last(attempt))
        except FormRefused as error:
            spent += cost_of(error)
            # The driver has taken note, and uses another form from now on.
            if type(error) in refused:
                raise _costing(spent, _as_known(error, lost, batch.effect)) from None
            refused.add(type(error))
        except StoreClosed:
            if lost is None:
                raise
            raise _costing(spent, _closed_meanwhile(lost)) from lost.__cause__
        except DatabaseError as error:
            spent += cost_of(error)
            if sent.settlement is not None and error.applied is Applied.UNKNOWN:
                sent, lost = sent.settlement(), error
            pause = budget.pause_after(attempt, error, sent.effect)
            if pause is None or not (yield Pause(pause)):
                raise _costing(spent, _as_known(error, lost, batch.effect)) from error.__cause__
            attempt += 1
        else:
            return replies._replace(settled=sent is not batch, cost=replies.cost + spent)


def cost_of(error: DatabaseError) -> Cost:
    """Return what the requests cost that ended in an error; where that is not known, one request."""
    return error.cost if isinstance(error.cost, Cost) else Cost(requests=1)


def _costing(spent: Cost, error: DatabaseError) -> DatabaseError:
    error.cost = spent
    return error


def _as_known(error: DatabaseError, lost: DatabaseError | None, effect: Effect) -> DatabaseError:
    """Return the error to raise, by what the batch does: the one place where a lost reply is judged.

    Args:
        error: The error of the last attempt.
        lost: That of the attempt which may have been applied, where the last one was to settle it.
        effect: What the batch does.
    """
    if lost is not None:
        return _unsettled(error, lost)
    if error.applied is not Applied.UNKNOWN:
        return error
    if effect is Effect.WRITE:
        return _unknown_outcome(error)
    if effect is Effect.READ:
        error.applied = Applied.NO
    return error


def _unsettled(error: DatabaseError, lost: DatabaseError) -> DatabaseError:
    """Return the error for a write whose settlement failed too."""
    if isinstance(error, WrongType):
        # What it says of the key holds for the write before it, too; but that may have had other commands beside it.
        error.applied = Applied.UNKNOWN
        return error
    unknown = _unknown_outcome(lost)
    if error is not lost:
        unknown.problem += f"; asking again failed as well: {error.problem}"
        unknown.server_text = error.server_text or lost.server_text
    return unknown


def _closed_meanwhile(lost: DatabaseError) -> OutcomeUnknown:
    """Return the error for a write that could not be settled because the store was closed after it was sent."""
    unknown = _unknown_outcome(lost)
    unknown.problem += "; the store was closed before it could be asked again"
    return unknown


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
