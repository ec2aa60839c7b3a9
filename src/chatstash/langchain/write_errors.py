"""Reports messages that could not be added: a line in the log, and the user's hook."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Literal

from chatstash.errors import (
    ConcurrentTurn,
    DatabaseError,
    IdempotencyConflict,
    MessageNotFound,
    RecordTooLarge,
    ReplyNotStored,
    StoreClosed,
    UnstorableMessage,
)

OnWriteError = Callable[[Exception], None]
"""Called with the error when messages could not be added."""

OnWriteFailure = Literal["raise", "return"]
"""If a run's messages cannot be stored: raise the error, or return the reply."""

_log = logging.getLogger("chatstash")


def checked_hook(hook: OnWriteError | None) -> OnWriteError | None:
    """Return the hook; ValueError if it is not a plain function: a coroutine function would never run."""
    if hook is not None and (not callable(hook) or inspect.iscoroutinefunction(hook)):
        raise ValueError(f"on_write_error must be a plain function of one error, or None, not {hook!r}")
    return hook


class report_errors:  # noqa: N801 - used like a function
    """Log an error of the write within and call the hook; the error goes on. A context manager.

    The log line has no text of the server, which may quote messages. An error of the hook is logged.
    """

    __slots__ = ("_hook", "_key")

    def __init__(self, key: str, hook: OnWriteError | None) -> None:
        self._key = key
        self._hook = hook

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        # Regular outcomes are not reported: others were first.
        if isinstance(error, Exception) and not isinstance(error, (ConcurrentTurn, IdempotencyConflict)):
            _report(error, self._key, self._hook)


def with_reply(error: Exception, reply: object) -> Exception:
    """Return an error with `reply` set, or, if its class does not allow that, a `ReplyNotStored` that it caused."""
    try:
        error.reply = reply  # type: ignore[attr-defined]
    except (AttributeError, TypeError):
        carrier = ReplyNotStored(f"The reply could not be stored: {type(error).__name__}.")
        carrier.reply, carrier.__cause__ = reply, error
        return carrier
    return error


def _report(error: Exception, key: str, hook: OnWriteError | None) -> None:
    status = getattr(error, "status", None)
    kind = type(error).__name__ + ("" if status is None else f" (status {status})")
    _log.error("Adding messages to %r failed: %s. %s", key, kind, _outcome(error))
    if hook is not None:
        _call(hook, error)


def _outcome(error: Exception) -> str:
    if isinstance(error, DatabaseError):
        return f"{error.applied.value} {error.advice}".rstrip()
    if isinstance(error, UnstorableMessage):
        which = "The argument" if error.index is None else f"Message {error.index}"
        return f"{which} cannot be stored; no message was sent or stored."
    if isinstance(error, RecordTooLarge):
        return "Nothing was stored by this call."
    if isinstance(error, MessageNotFound):
        return "Nothing was changed."
    if isinstance(error, (StoreClosed, ValueError)):
        return "Nothing was sent."
    return "It is not known whether anything was stored."


def _call(hook: OnWriteError, error: Exception) -> None:
    try:
        hook(error)
    except Exception as hook_error:  # noqa: BLE001 - it must not hide the write's error, which is raised next
        # Its context is the write's error, whose text may quote messages.
        hook_error.__suppress_context__ = True
        _log.error("on_write_error failed while reporting a failed write.", exc_info=hook_error)
