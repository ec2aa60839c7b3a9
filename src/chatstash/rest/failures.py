"""What is said of a request that had no whole reply in time. Pure."""

from __future__ import annotations

from chatstash.errors import Applied, DatabaseError, RequestTimeout


def applied_if(*, sent: bool) -> Applied:
    """Return what is known of a request without a reply; `sent` where it may have gone out whole."""
    return Applied.UNKNOWN if sent else Applied.NO


def timed_out(target: str = "", *, sent: bool) -> DatabaseError:
    """Return the error for a request that had no whole reply in time; `sent` where it may have gone out whole."""
    where = f" {'from' if sent else 'to'} {target}" if target else ""
    what = f"There was no whole reply{where} in time" if sent else f"No connection{where} could be made in time"
    return RequestTimeout(what, applied=applied_if(sent=sent))
