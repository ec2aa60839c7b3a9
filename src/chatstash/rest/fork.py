"""Resets shared objects in forked child processes, which never touch inherited connections or locks.

A socket shared with the parent would deliver one side's reply to the other. The hook runs in the child before any other
code, while it has just one thread, so no other code has to compare process ids.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class ForkAware(Protocol):
    """An object that holds connections or locks."""

    def reset_after_fork(self) -> None:
        """Start afresh in a child process, without closing or finalising anything inherited."""


_all: WeakSet[ForkAware] = WeakSet()


def register_fork_reset(thing: ForkAware) -> None:
    """Have `thing.reset_after_fork()` called in every child process. Holds it weakly."""
    _all.add(thing)


def _reset_all() -> None:
    for thing in list(_all):
        thing.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all)
