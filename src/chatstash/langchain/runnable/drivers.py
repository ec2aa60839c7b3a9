"""Drive a workflow: its steps block, or are awaited. Nothing here decides anything."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, cast

from chatstash.langchain.runnable.workflow import Steps, T

_log = logging.getLogger("chatstash")


def run(steps: Steps[T]) -> T:
    """Run a workflow whose steps block."""
    resume, value = steps.send, None
    try:
        while True:
            step = resume(value)
            try:
                resume, value = steps.send, step.blocking()
            except Exception as error:  # noqa: BLE001 - the workflow decides what to do with it
                resume, value = steps.throw, error
    except StopIteration as end:
        return cast("T", end.value)
    finally:
        # At once and here if the caller is interrupted or cancelled: a workflow may hold a context variable.
        steps.close()


async def arun(steps: Steps[T]) -> T:
    """Run a workflow without blocking the event loop."""
    resume, value = steps.send, None
    try:
        while True:
            step = resume(value)
            try:
                awaited = _uncancelled(step.awaited()) if step.is_write else step.awaited()
                resume, value = steps.send, await awaited
            except Exception as error:  # noqa: BLE001 - the workflow decides what to do with it
                resume, value = steps.throw, error
    except StopIteration as end:
        return cast("T", end.value)
    finally:
        # At once and here if the caller is interrupted or cancelled: a workflow may hold a context variable.
        steps.close()


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
