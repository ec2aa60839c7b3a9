"""The clocks that record ids are made by: each writer's is wrong by up to a day."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from contextvars import ContextVar
from types import SimpleNamespace

from chatstash.history.operations import prepare

_DAY = 86_400_000_000_000
_ahead: ContextVar[int] = ContextVar("ahead", default=0)
"""Nanoseconds by which the clock of this thread or task is ahead."""


@contextlib.contextmanager
def differing() -> Iterator[None]:
    """Let each thread and task have a clock of its own, right until `set_wrong` is called in it."""
    before = prepare.time
    clock = SimpleNamespace(**{**vars(time), "time_ns": lambda: time.time_ns() + _ahead.get()})
    prepare.time = clock  # type: ignore[assignment]
    try:
        yield
    finally:
        prepare.time = before


def set_wrong(seed: int, writer: int) -> None:
    """Set the clock of this thread or task wrong by up to a day; one writer's is right, another's nearly so."""
    far = random.Random(f"clock/{seed}/{writer}").randint(-_DAY, _DAY)
    _ahead.set({0: 0, 1: 5_000_000_000}.get(writer, far))
