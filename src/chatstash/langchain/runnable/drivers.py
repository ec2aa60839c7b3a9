"""Drive a workflow: its steps block, or are awaited. Nothing here decides anything."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, cast

from chatstash.langchain.runnable.workflow import Step, Steps, T

_log = logging.getLogger("chatstash")


def run(steps: Steps[T]) -> T:
    """Run a workflow whose steps block."""
    resume: Callable[[], Step] = partial(next, steps)
    try:
        while True:
            step = resume()
            try:
                resume = partial(steps.send, step.blocking())
            except Exception as error:  # noqa: BLE001 - the workflow decides what to do with it
                resume = partial(steps.throw, error)
    except StopIteration as end:
        return cast("T", end.value)


async def arun(steps: Steps[T]) -> T:
    """Run a workflow without blocking the event loop."""
    resume: Callable[[], Step] = partial(next, steps)
    try:
        while True:
            step = resume()
            try:
                resume = partial(steps.send, await _awaitable(step))
            except Exception as error:  # noqa: BLE001 - the workflow decides what to do with it
                resume = partial(steps.throw, error)
    except StopIteration as end:
        return cast("T", end.value)


def _awaitable(step: Step) -> Awaitable[Any]:
    return _uncancelled(step.awaited()) if step.is_write else step.awaited()


_running_writes: set[asyncio.Task[None]] = set()
"""Writes whose callers were cancelled; an event loop itself holds its tasks only weakly."""


async def _uncancelled(write: Coroutine[Any, Any, None]) -> None:
    """Await a write; if the caller is cancelled, the write still completes."""
    task = asyncio.ensure_future(write)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        _running_writes.add(task)
        task.add_done_callback(_log_failure)
        raise


def _log_failure(task: asyncio.Task[None]) -> None:
    _running_writes.discard(task)
    if not task.cancelled() and (error := task.exception()):
        _log.error("The messages of a cancelled run could not be stored: %s.", type(error).__name__)
