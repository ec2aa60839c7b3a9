"""Requests and responses as plain values, and the bytes of a response's head."""

from __future__ import annotations

import enum
import functools
import http
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Protocol


class Delivery(enum.Enum):
    """How a response reaches the client."""

    WHOLE = "the whole reply"
    LOST = "the connection is closed without a reply"
    RESET = "the connection is reset without a reply"
    TRUNCATED = "half of the body, then the connection is closed"
    NEVER = "no reply; the connection stays open until the client leaves"


@dataclass(slots=True)
class HttpRequest:
    """One request. Header names are in lower case; the target is as sent."""

    method: str
    target: bytes
    headers: dict[bytes, bytes]
    body: bytes


@dataclass(slots=True)
class HttpResponse:
    """One response. `close_events` ends a streamed body, started or not; `error` is for the log."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    events: AsyncIterator[bytes] | None = None
    close_events: Callable[[], None] | None = None
    error: str = ""
    delivery: Delivery = Delivery.WHOLE


class Service(Protocol):
    """Answers the requests of a server."""

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer a request. Runs to its end even if the client leaves."""

    def admit(self, head: HttpRequest) -> HttpResponse | None:
        """Check a request before its body is read; returns the response that turns it away, or None to admit it."""

    def refuse(self, status: int, reason: str) -> HttpResponse:
        """Return the response to an invalid request."""


def head_of(response: HttpResponse, *, keep: bool, chunked: bool = False) -> bytes:
    """Return the status line and headers of a response, up to the empty line."""
    head = _status_line(response.status, response.content_type)
    for name, value in response.headers.items():
        head += f"{name}: {value}\r\n"
    if response.events is None:
        head += f"content-length: {len(response.body)}\r\n"
    elif chunked:
        head += "transfer-encoding: chunked\r\n"
    return (head + ("\r\n" if keep else "connection: close\r\n\r\n")).encode("latin-1")


def half_of(response: HttpResponse) -> bytes:
    """Return the bytes of a response cut in the middle of its body, or of its head if it has no body."""
    whole = head_of(response, keep=True) + response.body
    return whole[: len(whole) - (len(response.body) + 1) // 2 if response.body else len(whole) // 2]


@functools.lru_cache(maxsize=64)
def _status_line(status: int, content_type: str) -> str:
    return f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\ncontent-type: {content_type}\r\n"
