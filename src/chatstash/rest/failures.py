"""What both pools say of a request without a reply."""

from __future__ import annotations

from chatstash.errors import Applied, ConnectionFailed, DatabaseError, RequestTimeout
from chatstash.rest.protocol import without_token

_SHORTEST_SECRET = 8
"""Shorter tokens, as tests have them, stand in any text by chance."""


def timed_out(*, sent: bool) -> DatabaseError:
    """Return the error for a request that had no whole reply in time; `sent` where it may have gone out whole."""
    what = "There was no whole reply in time" if sent else "No connection could be made in time"
    return RequestTimeout(what, applied=Applied.UNKNOWN if sent else Applied.NO)


def broken(*, sent: bool) -> DatabaseError:
    """Return the error for a connection that failed; `sent` where the request may have gone out whole."""
    what = "The connection broke before the whole reply was there" if sent else "No connection could be made or kept"
    return ConnectionFailed(what, applied=Applied.UNKNOWN if sent else Applied.NO)


def bare(error: BaseException, token: str) -> BaseException | None:
    """Return an error without its traceback and what it came from, or None where its own words show the token.

    Frames further down hold the token in their local variables, and a server may repeat it in a reply that is none.
    """
    error.__cause__ = error.__context__ = None
    words = f"{error!r} {error} {error.args!r}"
    shows_it = len(token) >= _SHORTEST_SECRET and without_token(words, token) != words
    return None if shows_it else error.with_traceback(None)


def drop_frames(error: BaseException) -> None:
    """Take the traceback so far off an interruption (Ctrl-C, a cancelled task, a time limit) and all it came from.

    It came through frames of the HTTP libraries, which hold the token in their local variables.
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
