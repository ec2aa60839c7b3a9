"""What an operation cost: all its requests, those that failed or were refused included. Pure."""

from __future__ import annotations

from typing import Protocol, Self, TypeVar

from chatstash.errors import DatabaseError
from chatstash.rest.commands import Batch, Cost, Replies
from chatstash.rest.ops import Op, cost_of, intercept, send


class Costing(Protocol):
    """A result that tells its cost, as a named tuple does."""

    def _replace(self, *, cost: Cost) -> Self: ...


ResultT = TypeVar("ResultT", bound=Costing)


def with_cost(op: Op[ResultT]) -> Op[ResultT]:
    """Run `op`; its result, or the database error it ends with, tells what all its requests cost together."""
    spent = Cost()

    def measured(batch: Batch) -> Op[Replies]:
        nonlocal spent
        try:
            replies = yield from send(batch)
        except DatabaseError as error:
            spent += cost_of(error)
            raise
        spent += replies.cost
        return replies

    try:
        done = yield from intercept(op, measured)
    except DatabaseError as error:
        error.cost = spent
        raise
    return done._replace(cost=spent)
