"""Exceptions that interrupt an operation from outside: raised by signal handlers, or by cancelling a task."""

from __future__ import annotations

import signal
from types import CodeType


def is_from_signal_handler(error: BaseException) -> bool:
    """Tell whether a signal handler raised an error: it belongs to the program, not to the request."""
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


def strip_tracebacks(error: BaseException) -> None:
    """Remove the tracebacks of an interrupt (Ctrl-C, a cancelled task, a time limit), its causes and its contexts.

    Their frames hold the token in local variables.
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
