"""What an operation cost: all its requests, those that failed or were refused included. Pure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol, Self, TypeVar

from chatstash.errors import DatabaseError, StoreClosed
from chatstash.rest.commands import Batch, Cost
from chatstash.rest.ops import Op, cost_of


class Costing(Protocol):
    """A result that tells its cost, as a named tuple does."""

    def _replace(self, *, cost: Cost) -> Self: ...


ResultT = TypeVar("ResultT", bound=Costing)


def with_cost(op: Op[ResultT]) -> Op[ResultT]:
    """Run `op`; its result tells what all its requests cost together."""
    spent = Cost()
    resume: Callable[[], Batch] = partial(next, op)
    while True:
        try:
            batch = resume()
        except StopIteration as stop:
            return stop.value._replace(cost=spent)  # type: ignore[no-any-return]
        try:
            replies = yield batch
        except DatabaseError as error:
            spent += cost_of(error)
            resume = partial(op.throw, error)
        except StoreClosed as error:
            resume = partial(op.throw, error)
        else:
            spent += replies.cost
            resume = partial(op.send, replies)
