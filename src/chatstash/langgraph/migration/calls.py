"""Runs a workflow of calls in both colours. The workflow is a generator, which yields each call and is sent its answer.

An object has each method twice: `name` for blocking callers, and `aname` for asyncio.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")


class Call(NamedTuple):
    """A call to make.

    Attributes:
        target: The object.
        method: Name of the method for blocking callers.
        arguments: Its arguments.
        keywords: Its keyword arguments.
    """

    target: Any
    method: str
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any] = {}


Calls: TypeAlias = Generator[Call, Any, T]


def run(calls: Calls[T]) -> T:
    """Make the calls of a workflow. What a method yields is sent as a list."""
    answer: Any = None
    while True:
        try:
            call = calls.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result
        answer = getattr(call.target, call.method)(*call.arguments, **call.keywords)
        answer = list(answer) if isinstance(answer, Iterator) else answer


async def arun(calls: Calls[T]) -> T:
    """Make the calls as `run` does, without blocking the event loop."""
    answer: Any = None
    while True:
        try:
            call = calls.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result
        answer = getattr(call.target, "a" + call.method)(*call.arguments, **call.keywords)
        answer = [each async for each in answer] if isinstance(answer, AsyncIterator) else await answer
