"""The control endpoint: counters, log and faults as JSON, on a separate port of loopback.

It accepts the server's standard token, not the read-only one or that of another database.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import orjson

from chatstash.local.faults import DelayedRequests, Fault, Faults
from chatstash.local.http.messages import HttpRequest, HttpResponse
from chatstash.local.rest.requests import token_of
from chatstash.local.stats import Stats

_ROUTES = (
    "GET /stats, GET /log?last=N, GET /faults, POST /faults, POST /faults/next, POST /faults/seed, POST /faults/clear, "
    "GET /held, POST /release, POST /flush, POST /reset"
)


@dataclass(eq=False)
class Control:
    """Answers the requests of the control endpoint."""

    token: str
    stats: Stats
    faults: Faults
    delayed: DelayedRequests
    flush: Callable[[], Awaitable[None]]
    reset: Callable[[], Awaitable[None]]

    def admit(self, head: HttpRequest) -> HttpResponse | None:
        """Turn away a request without the token."""
        if hmac.compare_digest(self.token.encode(), token_of(head.target, head.headers)):
            return None
        return self.refuse(401, "send the token of the server: authorization: Bearer $UPSTASH_REDIS_REST_TOKEN")

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        path, _, query = request.target.decode("latin-1").partition("?")
        try:
            answer = await self._answer(f"{request.method} {path}", query, request.body)
            return HttpResponse(200, orjson.dumps(answer))
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            return self.refuse(400, str(error))
        except _NoRoute:
            return self.refuse(404, f"unknown request; use one of {_ROUTES}")

    def refuse(self, status: int, reason: str) -> HttpResponse:
        """Return an error."""
        return HttpResponse(status, orjson.dumps({"error": reason}))

    async def _answer(self, route: str, query: str, body: bytes) -> Any:
        match route:
            case "GET /stats":
                return self.stats.snapshot().to_json()
            case "GET /log":
                return self._newest(int(parse_qs(query).get("last", ["0"])[0]))
            case "GET /faults":
                return self.faults.to_json()
            case "GET /held":
                return self.delayed.held
            case "POST /release":
                return {"result": "OK", "released": await self._release(body)}
            case "POST /flush":
                await self.flush()
            case "POST /reset":
                await self.reset()
            case _:
                self._change(route, body)
        return {"result": "OK"}

    def _newest(self, last: int) -> list[Any]:
        if last < 0:
            raise ValueError("last must be a whole number from 0")
        return [entry.to_json() for entry in self.stats.log[-last if last else None :]]

    async def _release(self, body: bytes) -> int:
        given = _decoded(body) if body else {}
        if not isinstance(given, dict) or not set(given) <= {"count", "matching"}:
            raise ValueError('send an object such as {"count": 1, "matching": "LPUSH"}, or nothing to release all')
        return await self.delayed.release(given.get("count"), given.get("matching", ""))

    def _change(self, route: str, body: bytes) -> None:
        match route:
            case "POST /faults":
                given = _decoded(body)
                for fault in [Fault.from_json(item) for item in (given if isinstance(given, list) else [given])]:
                    self.faults.add(fault)
            case "POST /faults/next":
                given = _decoded(body)
                if not isinstance(given, list):
                    raise ValueError("send a list: a fault or null for each of the next requests")
                self.faults.next(*[item and Fault.from_json(item) for item in given])
            case "POST /faults/seed":
                seed = _decoded(body)
                if type(seed) is not int:
                    raise ValueError("the seed must be a whole number")
                self.faults.seed(seed)
            case "POST /faults/clear":
                self.faults.clear()
            case _:
                raise _NoRoute(route)


class _NoRoute(Exception):
    """The request is unknown."""


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        raise ValueError('send JSON such as {"kind": "reply_lost", "times": 1}') from None
