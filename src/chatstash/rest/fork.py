"""After a fork the child begins with fresh connections and locks; it never touches what it inherited.

A socket shared with the parent would hand one side's reply to the other. The hook runs in the child before any other
code, while there is just one thread, so nothing needs to look at process ids later.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Forgetful(Protocol):
    """Something that holds connections or locks."""

    def reset_after_fork(self) -> None:
        """Begin anew in a child process, without closing or finalising anything inherited."""


_all: WeakSet[Forgetful] = WeakSet()


def register_fork_reset(thing: Forgetful) -> None:
    """Have `thing.reset_after_fork` called in every child process."""
    _all.add(thing)


def _forget_parent() -> None:
    for thing in list(_all):
        thing.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
