"""Exceptions that come from outside into whatever runs: from signal handlers, or because a task was cancelled."""

from __future__ import annotations

import signal
from types import CodeType


def is_a_handlers(error: BaseException) -> bool:
    """Tell whether an error was raised by a signal handler that ran meanwhile: it is the program's, and no failure."""
    handlers = set(map(_code_of, map(signal.getsignal, signal.valid_signals()))) - {None}
    traceback = error.__traceback__
    while traceback is not None and handlers:
        if traceback.tb_frame.f_code in handlers:
            return True
        traceback = traceback.tb_next
    return False


def _code_of(handler: object) -> CodeType | None:
    plain = getattr(handler, "func", handler)  # of a functools.partial
    for method in (plain, getattr(type(plain), "__call__", None)):  # noqa: B004 - its code is wanted
        code = getattr(method, "__code__", None)
        if isinstance(code, CodeType):
            return code
    return None


def drop_frames(error: BaseException) -> None:
    """Take the traceback so far off an interruption (Ctrl-C, a cancelled task, a time limit) and all it came from.

    It came through frames that pass the token on.
    """
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        one = waiting.pop()
        # By identity: an exception may define equality.
        if not any(one is other for other in seen):
            seen.append(one)
            one.__traceback__ = None
            waiting += [linked for linked in (one.__cause__, one.__context__) if linked is not None]
