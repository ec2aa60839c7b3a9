"""Workflows of calls: both colours, streams, and errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from chatstash.calls import Call, Calls, Streamed, arun, astream, run, stream


class Target:
    """An object with each method twice."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def double(self, number: int) -> int:
        self.called.append("double")
        if number < 0:
            raise LookupError(number)
        return 2 * number

    async def adouble(self, number: int) -> int:
        self.called.append("adouble")
        return Target().double(number)

    def some(self) -> Iterator[int]:
        yield from (1, 2)

    async def asome(self) -> AsyncIterator[int]:
        for number in self.some():
            yield number


def _workflow(target: Target, closed: list[bool]) -> Streamed[Any]:
    try:
        yield (yield Call(target, "double", (4,)))
        yield (yield Call(target, "some"))
        try:
            yield Call(target, "double", (-1,))
        except LookupError as error:
            yield error.args
        yield "last"
    finally:
        closed.append(True)


def _sum(target: Target) -> Calls[int]:
    first: int = yield Call(target, "double", (1,))
    more: list[int] = yield Call(target, "some")
    return first + sum(more)


def test_a_stream_passes_on_what_is_no_call() -> None:
    target, closed = Target(), []  # type: ignore[var-annotated]
    assert list(stream(_workflow(target, closed))) == [8, [1, 2], (-1,), "last"]

    async def streamed() -> list[Any]:
        return [each async for each in astream(_workflow(target, closed))]

    assert asyncio.run(streamed()) == [8, [1, 2], (-1,), "last"]
    assert (target.called, closed) == (["double"] * 2 + ["adouble"] * 2, [True, True])


def test_a_stream_that_is_not_read_to_its_end_closes_the_workflow() -> None:
    closed: list[bool] = []
    lines = stream(_workflow(Target(), closed))
    assert next(lines) == 8
    lines.close()  # type: ignore[attr-defined]
    assert closed == [True]


def test_a_result_is_returned_and_an_error_raised() -> None:
    assert run(_sum(Target())) == asyncio.run(arun(_sum(Target()))) == 5

    def failing() -> Calls[None]:
        yield Call(Target(), "double", (-1,))

    with pytest.raises(LookupError):
        run(failing())
    with pytest.raises(LookupError):
        asyncio.run(arun(failing()))
