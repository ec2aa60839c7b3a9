"""What is said of a request without a reply: which host, why, and whether it may have been applied."""

from __future__ import annotations

import socket
import sys
from typing import Any

from chatstash.errors import Applied, ConnectionFailed, DatabaseError, ProtocolError
from chatstash.rest.endpoint import Secret
from chatstash.rest.failures import applied_if, timed_out
from chatstash.rest.http.faults import HttpFault, UnwantedReply
from chatstash.rest.protocol import without_token

_SHORTEST_SECRET = 8
"""Shorter tokens, as tests have them, stand in any text by chance."""

_UNKNOWN_NAMES = {
    getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY") if hasattr(socket, name)
}


def closed_meanwhile(*, sent: bool) -> DatabaseError:
    """Return the error for a request that was under way when the store was closed."""
    return ConnectionFailed("The store was closed while the request was under way", applied=applied_if(sent=sent))


def failure_of(error: Exception, target: str, *, sent: bool) -> DatabaseError:
    """Return the error of this package for a failed exchange.

    Args:
        error: What it failed with.
        target: The host and port, for the message.
        sent: Whether the request may have gone out whole.
    """
    if isinstance(error, TimeoutError):
        return timed_out(target, sent=sent)
    reason, lasting = _reason(error)
    if isinstance(error, UnwantedReply):
        failure: DatabaseError = ProtocolError(f"{target}: {reason}", applied=applied_if(sent=sent))
    elif sent:
        failure = ConnectionFailed(
            f"The connection to {target} broke before the whole reply was there: {reason}", applied=Applied.UNKNOWN
        )
    else:
        failure = ConnectionFailed(f"No connection to {target} could be made or kept: {reason}")
    failure.lasting = lasting
    return failure


_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (ConnectionRefusedError, "the connection was refused"),
    (ConnectionResetError, "the connection was reset"),
    (BrokenPipeError, "the connection was reset"),
    (UnicodeError, "the host name is not valid"),
)


def _reason(error: Exception) -> tuple[str, bool]:
    """Return why an exchange failed, in words that hold nothing of what a server said, and whether that lasts."""
    if isinstance(error, HttpFault):
        return str(error), error.lasting
    if isinstance(error, socket.gaierror):
        return f"the host name could not be looked up ({error.strerror})", error.errno in _UNKNOWN_NAMES
    # Where ssl was never imported, no error is one of its.
    ssl = sys.modules.get("ssl")
    if ssl is not None and isinstance(error, ssl.SSLError):
        return _tls_reason(error)
    words = next((words for kind, words in _WORDS if isinstance(error, kind)), None)
    return words or getattr(error, "strerror", None) or "the network failed", isinstance(error, UnicodeError)


def _tls_reason(error: Any) -> tuple[str, bool]:
    why = getattr(error, "verify_message", None)
    if why is not None:
        return f"its certificate is not accepted ({why})", True
    return f"TLS failed ({error.reason})", "EOF" not in str(error.reason)


def bare(error: BaseException, token: Secret) -> BaseException | None:
    """Return an error without its traceback and what it came from, or None where its own words show the token.

    Frames further down hold the token in their local variables, and a server may repeat it in a reply that is none.
    """
    error.__cause__ = error.__context__ = None
    return None if _shows(error, token) else error.with_traceback(None)


def _shows(error: BaseException, token: Secret) -> bool:
    words = f"{error!r} {error} {error.args!r}"
    return len(token.get_secret_value()) >= _SHORTEST_SECRET and without_token(words, token) != words
