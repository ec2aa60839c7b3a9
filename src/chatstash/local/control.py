"""The control endpoint: counters, log and faults as JSON, on a separate port of loopback.

It accepts the server's standard token, not the read-only one or that of another database.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import orjson

from chatstash.local.faults import DelayedRequests, Fault, Faults
from chatstash.local.http import HttpRequest, HttpResponse
from chatstash.local.rest.requests import token_of
from chatstash.local.stats import Stats
from chatstash.local.tokens import Grant, Tokens

_ROUTES = {
    "GET /stats": "the counters",
    "GET /log?last=N": "the newest requests, oldest first",
    "GET /faults": "the planned faults, and the rules with their hits",
    "POST /faults": "add a rule, or a list of rules",
    "POST /faults/next": "plan the next requests: a list of faults and nulls",
    "POST /faults/seed": "reset the random numbers: a number",
    "POST /faults/clear": "remove all faults",
    "GET /held": "the held requests, oldest first",
    "POST /release": 'release held requests: all, or {"count": 1, "matching": "LPUSH"}',
    "POST /flush": "empty the databases",
    "POST /reset": "remove data, scripts and faults, and set the counters to 0",
}


class Control:
    """Answers the requests of the control endpoint."""

    def __init__(
        self,
        token: str,
        *,
        stats: Stats,
        faults: Faults,
        delayed: DelayedRequests,
        flush: Callable[[], Awaitable[None]],
        reset: Callable[[], Awaitable[None]],
    ) -> None:
        self._tokens: Tokens[None] = Tokens()
        self._tokens.add(token, Grant(None))
        self._stats = stats
        self._faults = faults
        self._delayed = delayed
        self._flush = flush
        self._reset = reset

    def admit(self, head: HttpRequest) -> HttpResponse | None:
        """Turn away a request without the token."""
        if self._tokens.grant_of(token_of(head.target, head.headers)) is not None:
            return None
        return self.refuse(401, "send the token of the server: authorization: Bearer $UPSTASH_REDIS_REST_TOKEN")

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        path, _, query = request.target.decode("latin-1").partition("?")
        try:
            return _json(await self._answer(f"{request.method} {path}", query, request.body))
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            return self.refuse(400, str(error))
        except _NoRoute:
            return self.refuse(404, f"unknown request; use one of {', '.join(_ROUTES)}")

    def refuse(self, status: int, reason: str) -> HttpResponse:
        """Return an error."""
        return HttpResponse(status, orjson.dumps({"error": reason}))

    async def _answer(self, route: str, query: str, body: bytes) -> Any:
        if route.startswith("GET "):
            return self._report(route, query)
        released = None
        match route:
            case "POST /flush":
                await self._flush()
            case "POST /reset":
                await self._reset()
            case "POST /release":
                released = await self._release(body)
            case _:
                self._change(route, body)
        return {"result": "OK"} if released is None else {"result": "OK", "released": released}

    def _report(self, route: str, query: str) -> Any:
        match route:
            case "GET /":
                return _ROUTES
            case "GET /stats":
                return self._stats.snapshot().to_json()
            case "GET /log":
                return self._newest(int(parse_qs(query).get("last", ["0"])[0]))
            case "GET /faults":
                return self._faults.to_json()
            case "GET /held":
                return self._delayed.held
        raise _NoRoute(route)

    def _newest(self, last: int) -> list[Any]:
        if last < 0:
            raise ValueError("last must be a whole number from 0")
        return [entry.to_json() for entry in self._stats.log[-last if last else None :]]

    async def _release(self, body: bytes) -> int:
        given = _decoded(body) if body else {}
        if not isinstance(given, dict) or not set(given) <= {"count", "matching"}:
            raise ValueError('send an object such as {"count": 1, "matching": "LPUSH"}, or nothing to release all')
        count, matching = given.get("count"), given.get("matching", "")
        if (count is not None and (type(count) is not int or count < 0)) or not isinstance(matching, str):
            raise ValueError("count must be a whole number from 0, and matching the name of a command")
        return await self._delayed.release(count, matching)

    def _change(self, route: str, body: bytes) -> None:
        match route:
            case "POST /faults":
                given = _decoded(body)
                for fault in [Fault.from_json(item) for item in (given if isinstance(given, list) else [given])]:
                    self._faults.add(fault)
            case "POST /faults/next":
                self._faults.next(*[item and Fault.from_json(item) for item in _listed(body)])
            case "POST /faults/seed":
                seed = _decoded(body)
                if type(seed) is not int:
                    raise ValueError("the seed must be a whole number")
                self._faults.seed(seed)
            case "POST /faults/clear":
                self._faults.clear()
            case _:
                raise _NoRoute(route)


class _NoRoute(Exception):
    """The request is unknown."""


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        raise ValueError('send JSON such as {"kind": "reply_lost", "times": 1}') from None


def _listed(body: bytes) -> list[Any]:
    value = _decoded(body)
    if not isinstance(value, list):
        raise ValueError("send a list: a fault or null for each of the next requests")
    return value


def _json(value: Any) -> HttpResponse:
    return HttpResponse(200, orjson.dumps(value))
