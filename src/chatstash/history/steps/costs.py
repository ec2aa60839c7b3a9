"""Adds up the cost of an operation: of all its requests, including failed and refused ones."""

from __future__ import annotations

from typing import Protocol, Self, TypeVar

from chatstash.errors import DatabaseError
from chatstash.rest.commands import Batch, Cost, Replies
from chatstash.rest.ops import Op, cost_of, intercept, send


class Costing(Protocol):
    """A result with a cost, as a named tuple."""

    def _replace(self, *, cost: Cost) -> Self: ...


ResultT = TypeVar("ResultT", bound=Costing)


def with_cost(op: Op[ResultT]) -> Op[ResultT]:
    """Run `op`; its result, or the database error that it raises, gets the cost of all its requests."""
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
