"""Converts failures of an exchange to errors of this package: the host, the reason, and whether it may be applied."""

from __future__ import annotations

import socket
import sys
from typing import Any

from chatstash.errors import Applied, ConnectionFailed, DatabaseError, ProtocolError, RequestTimeout
from chatstash.rest.http.exchange import HttpFault, UnwantedReply
from chatstash.rest.secret import Secret, redact

_SHORTEST_SECRET = 8
"""Shorter tokens, as in tests, appear in texts by chance."""

_UNKNOWN_NAMES = {
    getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY") if hasattr(socket, name)
}


def error_for(error: Exception, target: str, *, sent: bool) -> DatabaseError:
    """Return the error for a failed exchange. `sent`: the whole request may have been sent."""
    applied = Applied.UNKNOWN if sent else Applied.NO
    if isinstance(error, TimeoutError):
        missing = f"complete reply from {target}" if sent else f"connection to {target}"
        return RequestTimeout(f"No {missing} in time", applied=applied)
    reason, lasting = _reason(error)
    if isinstance(error, UnwantedReply):
        mapped: DatabaseError = ProtocolError(f"{target}: {reason}", applied=applied)
    elif sent:
        mapped = ConnectionFailed(
            f"The connection to {target} broke before the reply was complete: {reason}", applied=applied
        )
    else:
        mapped = ConnectionFailed(f"Could not make or keep a connection to {target}: {reason}")
    mapped.lasting = lasting
    return mapped


_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (ConnectionRefusedError, "the connection was refused"),
    (ConnectionResetError, "the connection was reset"),
    (BrokenPipeError, "the connection was reset"),
    (UnicodeError, "the host name is invalid"),
)


def _reason(error: Exception) -> tuple[str, bool]:
    """Return why an exchange failed, without any text of the server, and whether a retry will probably fail too."""
    if isinstance(error, HttpFault):
        return str(error), error.lasting
    if isinstance(error, socket.gaierror):
        return f"the host name could not be resolved ({error.strerror})", error.errno in _UNKNOWN_NAMES
    # If ssl was never imported, this is not an SSLError.
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


def showable_cause(error: BaseException, token: Secret) -> BaseException | None:
    """Return an error without traceback, cause and context; None if its own message shows the token.

    Frames hold the token in local variables, and a server may repeat it in an invalid reply.
    """
    error.__cause__ = error.__context__ = None
    words = f"{error!r} {error} {error.args!r}"
    shows_token = len(token.get_secret_value()) >= _SHORTEST_SECRET and redact(words, token) != words
    return None if shows_token else error.with_traceback(None)
