"""The control endpoint: what happened, and what is to go wrong, as JSON on a loopback port of its own.

It takes the standard token of the server, as the REST API takes it: not the read-only one, nor another database's.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import orjson

from chatstash.local.access import Access, Grant
from chatstash.local.calls import token_of
from chatstash.local.faults import Fault, Faults
from chatstash.local.http import HttpRequest, HttpResponse
from chatstash.local.late import LateRequests
from chatstash.local.stats import Stats

_ROUTES = {
    "GET /stats": "the counters",
    "GET /log?last=N": "the newest requests, oldest first",
    "GET /faults": "what is planned, the rules, and how often each has hit",
    "POST /faults": "add rules: a fault, or a list of them",
    "POST /faults/next": "plan the next requests: a list of faults and nulls",
    "POST /faults/seed": "begin the chances anew: a number",
    "POST /faults/clear": "take all faults away",
    "GET /held": "the requests that wait for their release, oldest first",
    "POST /release": 'let them go on: all, or {"count": 1, "matching": "LPUSH"}',
    "POST /flush": "empty the databases",
    "POST /reset": "no data or scripts, no faults, counters at 0, an empty log",
}


class Control:
    """Answers the control endpoint's requests.

    Args:
        token: What a client must send.
        stats: What happened.
        faults: What is to go wrong.
        late: The requests that faults hold up.
        flush: Empties the databases.
        reset: Makes all as it was at the start.
    """

    def __init__(
        self,
        token: str,
        *,
        stats: Stats,
        faults: Faults,
        late: LateRequests,
        flush: Callable[[], Awaitable[None]],
        reset: Callable[[], Awaitable[None]],
    ) -> None:
        self._access: Access[None] = Access()
        self._access.allow(token, Grant(None))
        self._stats = stats
        self._faults = faults
        self._late = late
        self._flush = flush
        self._reset = reset

    def admit(self, head: HttpRequest) -> HttpResponse | None:
        """Return the answer to a request without the token, of which its body is not read."""
        if self._access.grant_of(token_of(head.target, head.headers)) is not None:
            return None
        return refused_control(401, "send the token of the server: authorization: Bearer $UPSTASH_REDIS_REST_TOKEN")

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        path, _, query = request.target.decode("latin-1").partition("?")
        try:
            return _json(await self._answer(f"{request.method} {path}", query, request.body))
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            return refused_control(400, str(error))
        except _NoRoute:
            return refused_control(404, f"there is no such request; there are {', '.join(_ROUTES)}")

    async def _answer(self, route: str, query: str, body: bytes) -> Any:
        if route.startswith("GET "):
            return self._told(route, query)
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

    def _told(self, route: str, query: str) -> Any:
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
                return self._late.waiting
        raise _NoRoute(route)

    def _newest(self, last: int) -> list[Any]:
        if last < 0:
            raise ValueError("last must be a number from 0")
        return [entry.to_json() for entry in self._stats.log[-last if last else None :]]

    async def _release(self, body: bytes) -> int:
        given = _decoded(body) if body else {}
        if not isinstance(given, dict) or not set(given) <= {"count", "matching"}:
            raise ValueError('an object is wanted: {"count": 1, "matching": "LPUSH"}, or nothing for all')
        count, matching = given.get("count"), given.get("matching", "")
        if (count is not None and (type(count) is not int or count < 0)) or not isinstance(matching, str):
            raise ValueError("count is a whole number from 0, and matching the name of a command")
        return await self._late.release(count, matching)

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
                    raise ValueError("a seed is a whole number")
                self._faults.seed(seed)
            case "POST /faults/clear":
                self._faults.clear()
            case _:
                raise _NoRoute(route)


class _NoRoute(Exception):
    """There is no such request."""


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        raise ValueError('a body of JSON is wanted, such as {"kind": "reply_lost", "times": 1}') from None


def refused_control(status: int, reason: str) -> HttpResponse:
    """Return an error of the control endpoint."""
    return HttpResponse(status, orjson.dumps({"error": reason}))


def _listed(body: bytes) -> list[Any]:
    value = _decoded(body)
    if not isinstance(value, list):
        raise ValueError("a list is wanted: a fault or null for each of the next requests")
    return value


def _json(value: Any) -> HttpResponse:
    return HttpResponse(200, orjson.dumps(value))
