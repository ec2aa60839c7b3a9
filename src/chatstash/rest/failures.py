"""What both pools say of a request without a reply."""

from __future__ import annotations

from chatstash.errors import Applied, ConnectionFailed, DatabaseError, RequestTimeout


def timed_out(*, sent: bool) -> DatabaseError:
    """Return the error for a request that had no whole reply in time; `sent` where it may have gone out whole."""
    what = "There was no whole reply in time" if sent else "No connection could be made in time"
    return RequestTimeout(what, applied=Applied.UNKNOWN if sent else Applied.NO)


def broken(*, sent: bool) -> DatabaseError:
    """Return the error for a connection that failed; `sent` where the request may have gone out whole."""
    what = "The connection broke before the whole reply was there" if sent else "No connection could be made or kept"
    return ConnectionFailed(what, applied=Applied.UNKNOWN if sent else Applied.NO)


def bare(error: BaseException) -> BaseException:
    """Return an error without its traceback: frames further down hold the token in their local variables."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
