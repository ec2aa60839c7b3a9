"""An HTTP request and its reply, as values whose repr shows neither headers nor bodies. Pure.

They are neither tuples nor dataclasses: tools that print local variables look into those, and a server may repeat the
token in its reply.
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
