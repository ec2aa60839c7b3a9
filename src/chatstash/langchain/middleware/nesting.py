"""Which conversation the running agent answers in: an agent that one of its tools calls must not write there too.

A context variable, because the inner agent inherits the whole config of the outer one, its session id included.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from chatstash.langchain.middleware.turn import Turn

_outer: ContextVar[tuple[Turn, ...]] = ContextVar("chatstash_outer_turns", default=())


@contextmanager
def within(turn: Turn) -> Iterator[None]:
    """Run a model or a tool of a turn."""
    token = _outer.set((*_outer.get(), turn))
    try:
        yield
    finally:
        _outer.reset(token)


def is_inner(key: str) -> bool:
    """Tell whether an outer run answers in the conversation of this key."""
    return any(turn.history is not None and turn.history.key == key for turn in _outer.get())


def own_event(event: str | None) -> str | None:
    """Return the idempotency key of a run; None if it is inherited from an outer run."""
    return None if any(turn.event == event for turn in _outer.get()) else event
