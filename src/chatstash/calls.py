"""Runs a workflow of calls in both colours. The workflow is a generator, which yields each call and is sent its answer.

An object has each method twice: `name` for blocking callers, and `aname` for asyncio. A workflow that streams also
yields other values, which are passed on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from functools import partial
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

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
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = {}


Calls: TypeAlias = Generator[Call, Any, T]
Streamed: TypeAlias = Generator[Call | T, Any, None]


def run(calls: Calls[T]) -> T:
    """Make the calls of a workflow and return its result. What a method yields is sent as a list.

    The error of a call is thrown into the workflow.
    """
    workflow = _Workflow(calls)
    for _ in _passed_on(workflow):
        pass
    return workflow.result


async def arun(calls: Calls[T]) -> T:
    """Make the calls as `run` does, without blocking the event loop."""
    workflow = _Workflow(calls)
    async for _ in _apassed_on(workflow):
        pass
    return workflow.result


def stream(steps: Streamed[T]) -> Iterator[T]:
    """Make the calls of a workflow as `run` does, and yield the other values that it yields."""
    return _passed_on(_Workflow(steps))


def astream(steps: Streamed[T]) -> AsyncIterator[T]:
    """Stream as `stream` does, without blocking the event loop."""
    return _apassed_on(_Workflow(steps))


class _Workflow(Generic[T]):
    """The steps of a workflow, and its result after the last."""

    result: T

    def __init__(self, steps: Generator[Any, Any, T]) -> None:
        self._steps = steps
        self._resume: Callable[[], Any] = partial(steps.send, None)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        resume, self._resume = self._resume, partial(self._steps.send, None)
        try:
            return resume()
        except StopIteration as end:
            self.result = end.value
            raise StopIteration from None

    def answer(self, value: Any) -> None:
        """Have a value sent next."""
        self._resume = partial(self._steps.send, value)

    def fail(self, error: Exception) -> None:
        """Have an error thrown next."""
        self._resume = partial(self._steps.throw, error)

    def close(self) -> None:
        self._steps.close()


def _passed_on(workflow: _Workflow[Any]) -> Iterator[Any]:
    try:
        for step in workflow:
            if not isinstance(step, Call):
                yield step
                continue
            try:
                answer = getattr(step.target, step.method)(*step.arguments, **step.keywords)
                workflow.answer(list(answer) if isinstance(answer, Iterator) else answer)
            except Exception as error:  # noqa: BLE001 - the workflow decides what to do with it
                workflow.fail(error)
    finally:
        workflow.close()


async def _apassed_on(workflow: _Workflow[Any]) -> AsyncIterator[Any]:
    try:
        for step in workflow:
            if not isinstance(step, Call):
                yield step
                continue
            try:
                answer = getattr(step.target, "a" + step.method)(*step.arguments, **step.keywords)
                is_stream = isinstance(answer, AsyncIterator)
                workflow.answer([each async for each in answer] if is_stream else await answer)
            except Exception as error:  # noqa: BLE001 - the workflow decides what to do with it
                workflow.fail(error)
    finally:
        workflow.close()
