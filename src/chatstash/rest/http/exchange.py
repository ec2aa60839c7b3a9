"""An exchange: an HTTP request, its reply, and what may fail between them. Pure.

Request and reply are neither tuples nor dataclasses, and their repr shows neither headers nor bodies: tools that print
local variables look into those, and a server may repeat the token in its reply. The exceptions hold nothing that a
server said; the pools turn them into errors of `chatstash.errors`.
"""

from __future__ import annotations

from collections.abc import Mapping


class HttpRequest:
    """A POST to `path` below the database's URL; the connection adds host, credentials and length."""

    __slots__ = ("body", "headers", "path")

    def __init__(self, path: str, headers: Mapping[str, str], body: bytes) -> None:
        self.path = path
        self.headers = headers
        self.body = body

    def __repr__(self) -> str:
        return f"HttpRequest(path={self.path!r})"


class HttpReply:
    """An HTTP reply; header names are in lower case."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def __repr__(self) -> str:
        return f"HttpReply(status={self.status!r})"


class HttpFault(Exception):
    """An exchange failed for a reason that the operating system does not report."""

    lasting = False
    """Whether a retry will probably fail too."""


class Broken(HttpFault):
    """The connection ended before the reply was complete."""


class BadReply(HttpFault):
    """The bytes are not one HTTP reply to one request."""

    lasting = True


class UnwantedReply(BadReply):
    """The head of an HTTP reply announces a body that is too large or compressed."""


class TunnelRefused(HttpFault):
    """A proxy refused to open a tunnel."""

    lasting = True


FAILURES = (HttpFault, OSError, UnicodeError)
"""What an exchange may fail with; UnicodeError for host names that cannot be resolved."""
