"""What is told of messages that could not be added: a line in the log, a hook of the user's, the reply in the error."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chatstash.errors import (
    ConcurrentTurn,
    DatabaseError,
    IdempotencyConflict,
    RecordTooLarge,
    ReplyNotStored,
    StoreClosed,
    UnstorableMessage,
)

OnWriteError = Callable[[Exception], None]

_log = logging.getLogger("chatstash")


def checked_hook(hook: OnWriteError | None) -> OnWriteError | None:
    """Return the hook.

    Raises:
        ValueError: It is no plain function: a coroutine function would never run.
    """
    if hook is not None and (not callable(hook) or inspect.iscoroutinefunction(hook)):
        raise ValueError(f"on_write_error must be a plain function of one error, or None, not {hook!r}")
    return hook


@contextmanager
def write_watched(key: str, hook: OnWriteError | None) -> Iterator[None]:
    """Log an error of the write within, and tell the hook, before it is raised again.

    The line names the key, escaped, the kind of error and the outcome. It holds nothing of what the
    server said, which may quote the messages.

    Args:
        key: The conversation's key.
        hook: Called with the error; an error of its own is logged, and the write's is raised all the same.
    """
    try:
        yield
    except ConcurrentTurn:
        raise  # an answer, and no failure
    except Exception as error:
        _log.error("Adding messages to %r failed: %s. %s", key, _kind(error), _outcome(error))
        if hook is not None:
            _tell(hook, error)
        raise


@contextmanager
def reply_attached(reply: object) -> Iterator[None]:
    """Let an error of the write within carry the reply that could not be stored, as its attribute `reply`.

    Raises:
        ReplyNotStored: The error has an attribute of that name which cannot be set; it is the cause.
    """
    try:
        yield
    except Exception as error:
        try:
            error.reply = reply  # type: ignore[attr-defined]
        except (AttributeError, TypeError):
            carrier = ReplyNotStored(f"The reply could not be stored: {type(error).__name__}")
            carrier.reply = reply
            raise carrier from error
        raise


def _kind(error: Exception) -> str:
    status = getattr(error, "status", None)
    return type(error).__name__ + (f" (status {status})" if status is not None else "")


def _outcome(error: Exception) -> str:
    if isinstance(error, DatabaseError):
        return f"{error.applied.value} {error.advice}".rstrip()
    if isinstance(error, UnstorableMessage):
        which = "What was given" if error.index is None else f"Message {error.index}"
        return f"{which} cannot be stored; no message was sent or stored."
    if isinstance(error, (IdempotencyConflict, RecordTooLarge)):
        return "Nothing was stored by this call."
    if isinstance(error, (StoreClosed, ValueError)):
        return "Nothing was sent."
    return "Whether anything was stored is not known."


def _tell(hook: OnWriteError, error: Exception) -> None:
    try:
        hook(error)
    except Exception as its_own:  # noqa: BLE001 - it must not hide the error of the write, which is raised next
        # Its context is the write's error, whose text may quote messages.
        its_own.__suppress_context__ = True
        _log.error("on_write_error itself failed, for a write to have failed.", exc_info=its_own)
