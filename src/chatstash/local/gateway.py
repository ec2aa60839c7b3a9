"""The REST endpoint: Upstash's HTTP API in front of databases, with faults on demand.

https://upstash.com/docs/redis/features/restapi
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import math
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

import hiredis
import orjson

from chatstash.local.database import Answer, Database
from chatstash.local.engine.commands import EngineReply
from chatstash.local.engine.connection import EngineLost
from chatstash.local.faults import DelayedRequests, Fault, Faults
from chatstash.local.http.messages import Delivery, HttpRequest, HttpResponse
from chatstash.local.rest import encoding
from chatstash.local.rest.command_rules import BadRequest
from chatstash.local.rest.events import events_of
from chatstash.local.rest.requests import RequestKind, RestRequest, parse_request, token_of
from chatstash.local.rest.sync_tokens import SyncTokens
from chatstash.local.stats import LoggedRequest, Masker, Stats
from chatstash.local.stats.log import described

_DELIVERIES = {
    "reply_lost": Delivery.LOST,
    "request_lost": Delivery.LOST,
    "applied_late": Delivery.LOST,
    "replayed": Delivery.WHOLE,
    "reset": Delivery.RESET,
    "truncated": Delivery.TRUNCATED,
    "no_answer": Delivery.NEVER,
}
_ENGINE_LOST = (
    "the local server has lost its engine: the commands may or may not have been applied. "
    "Restart the local server, or the Redis behind it"
)
_UNAVAILABLE = b"<html><head><title>503 Service Unavailable</title></head><body><h1>503</h1></body></html>\n"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token permits."""

    database: Database
    read_only: bool = False


class Gateway:
    """Answers HTTP requests as Upstash does, faults on demand included."""

    def __init__(self, grants: Mapping[str, Grant], stats: Stats, faults: Faults, mask: Masker) -> None:
        self._grants = grants
        self._stats = stats
        self._faults = faults
        self._mask = mask
        self._sync_tokens = SyncTokens()
        self._replays: set[asyncio.Task[None]] = set()
        self.delayed = DelayedRequests(mask)
        """The requests that a fault delays."""

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        handled = _Handled(request, self._stats.count_request())
        handled.seen = self._sync_tokens.position_of(request.headers.get(b"upstash-sync-token"))
        try:
            response = await self._answer(handled)
        except BadRequest as error:
            response = failure(400, str(error))
        except (EngineLost, OSError) as error:
            response = failure(500, f"ERR {_ENGINE_LOST} ({error})")
        except (RecursionError, orjson.JSONEncodeError):
            response = failure(500, "ERR the reply is nested too deeply for the local server")
        response.headers["upstash-sync-token"] = self._sync_token(handled)
        self._count(handled, response)
        return response

    def admit(self, head: HttpRequest) -> HttpResponse | None:
        """Turn away a request without a valid token."""
        if self._grant_of(head) is not None:
            return None
        handled = _Handled(head, self._stats.count_request())
        response = failure(401, "WRONGPASS invalid or missing auth token")
        response.headers["upstash-sync-token"] = self._sync_token(handled)
        self._count(handled, response)
        return response

    def refuse(self, status: int, reason: str) -> HttpResponse:
        """Answer an invalid request."""
        response = failure(status, f"ERR {reason}")
        self._count(_Handled(HttpRequest("", b"", {}, b""), self._stats.count_request()), response)
        return response

    async def close(self) -> None:
        """Drop the delayed requests."""
        self.delayed.drop()
        for replay in self._replays:
            replay.cancel()
        await asyncio.gather(*self._replays, return_exceptions=True)

    def _grant_of(self, request: HttpRequest) -> Grant | None:
        """Return the grant of the request's token, in a time that does not depend on which token it is."""
        token = token_of(request.target, request.headers)
        found = [grant for known, grant in self._grants.items() if hmac.compare_digest(known.encode(), token)]
        return found[0] if found else None

    async def _answer(self, handled: _Handled) -> HttpResponse:
        request = handled.request
        grant = self._grant_of(request)
        assert grant is not None  # checked by admit
        handled.parsed = parsed = parse_request(request.target, request.headers, request.body)
        if faults := self._faults.pick(parsed.commands):
            return await self._answer_with_faults(handled, grant, faults)
        return await self._answer_plainly(handled, grant)

    async def _answer_plainly(self, handled: _Handled, grant: Grant) -> HttpResponse:
        parsed = handled.parsed
        assert parsed is not None
        if parsed.kind is RequestKind.EVENTS:
            return await self._answer_with_events(handled, parsed, grant)
        handled.answer = answer = await grant.database.answer(parsed, read_only=grant.read_only, seen=handled.seen)
        if parsed.kind is RequestKind.COMMAND:
            status = 400 if _is_error(answer.replies[0]) else 200
            body = encoding.single(answer.replies[0], parsed.encoding)
        else:
            status = 200
            body = encoding.batch(answer.replies, parsed.encoding)
        return HttpResponse(status, body, parsed.encoding.content_type)

    async def _answer_with_events(self, handled: _Handled, parsed: RestRequest, grant: Grant) -> HttpResponse:
        response = HttpResponse(200, content_type="text/event-stream")
        if handled.request.method != "HEAD":
            subscription = await grant.database.subscribe(parsed, read_only=grant.read_only)
            response.events = events_of(parsed.commands[0], subscription, grant.database.number)
            response.close_events = subscription.close
        return response

    async def _answer_with_faults(self, handled: _Handled, grant: Grant, faults: Sequence[Fault]) -> HttpResponse:
        handled.fault = " ".join(fault.kind for fault in faults)
        delays = [fault for fault in faults if fault.kind == "delay"]
        others = [fault for fault in faults if fault.kind != "delay"]
        async with self._delayed(handled, [fault for fault in delays if not fault.applied]) as continues:
            if not continues:
                return HttpResponse(200, delivery=Delivery.LOST)
            response = await self._answer_with(handled, grant, others[0] if others else None)
        if not (after := [fault for fault in delays if fault.applied]):
            return response
        async with self._delayed(handled, after) as continues:
            return response if continues else HttpResponse(200, delivery=Delivery.LOST)

    @contextlib.asynccontextmanager
    async def _delayed(self, handled: _Handled, delays: Sequence[Fault]) -> AsyncIterator[bool]:
        """Wait for these delays; yields whether the request continues."""
        async with contextlib.AsyncExitStack() as waits:
            due = [self._due(handled, fault) for fault in delays]
            yield all([await waits.enter_async_context(each) for each in due])

    async def _answer_with(self, handled: _Handled, grant: Grant, fault: Fault | None) -> HttpResponse:
        if fault is None:
            return await self._answer_plainly(handled, grant)
        is_event = handled.parsed is not None and handled.parsed.kind is RequestKind.EVENTS
        response = (
            await self._answer_plainly(handled, grant) if fault.runs_commands and not is_event else HttpResponse(200)
        )
        if fault.kind == "replayed" and not (fault.held or fault.seconds):
            self._stats.count_commands(handled.answer.counted)
            response = await self._answer_plainly(handled, grant)
        elif fault.kind in ("applied_late", "replayed") and not is_event:
            self._replay(handled, grant, fault)
        return _faulty(response, fault)

    def _due(self, handled: _Handled, fault: Fault) -> contextlib.AbstractAsyncContextManager[bool]:
        assert handled.parsed is not None
        return self.delayed.due(fault, self.delayed.hold(handled.parsed.commands) if fault.held else None)

    def _replay(self, handled: _Handled, grant: Grant, fault: Fault) -> None:
        # Held before the client is answered, so that it can release the request.
        task = asyncio.get_running_loop().create_task(self._replayed(handled, grant, self._due(handled, fault)))
        self._replays.add(task)
        task.add_done_callback(self._replays.discard)

    async def _replayed(
        self, handled: _Handled, grant: Grant, due: contextlib.AbstractAsyncContextManager[bool]
    ) -> None:
        late = _Handled(handled.request, handled.number, handled.parsed)
        async with due as continues:
            # No client waits for the error.
            with contextlib.suppress(BadRequest, EngineLost, OSError):
                if continues:
                    await self._answer_plainly(late, grant)
        self._stats.count_commands(late.answer.counted)

    def _count(self, handled: _Handled, response: HttpResponse) -> None:
        entry = handled.entry(response, self._mask)
        self._stats.count(entry, handled.answer.counted)
        if self._stats.on_request is not None:
            # Called by the loop, which logs errors of the callback; the client must not see them.
            asyncio.get_running_loop().call_soon(self._stats.on_request, entry)

    def _sync_token(self, handled: _Handled) -> str:
        # The answer to a rejected request reflects no more than the client has seen.
        return self._sync_tokens.token_of(handled.answer.position or handled.seen or 0)


@dataclass(slots=True)
class _Handled:
    """A request with the state of its answer."""

    request: HttpRequest
    number: int
    parsed: RestRequest | None = None
    fault: str = ""
    seen: int | None = None
    answer: Answer = field(default_factory=lambda: Answer([]))
    started: float = field(default_factory=time.perf_counter)

    def entry(self, response: HttpResponse, mask: Masker) -> LoggedRequest:
        """Return the entry of the log."""
        commands = self.parsed.commands if self.parsed is not None else []
        return LoggedRequest(
            number=self.number,
            time=time.time_ns() // 1_000_000,
            kind=self.parsed.kind.value if self.parsed is not None else "refused",
            commands=described(commands, mask),
            command_count=len(commands),
            status=response.status,
            error=mask(next((str(each) for each in self.answer.replies if _is_error(each)), response.error)),
            bytes_received=len(self.request.body),
            bytes_sent=len(response.body),
            billed_commands=self.answer.counted.billed,
            seconds=time.perf_counter() - self.started,
            fault=self.fault,
            replica=self.answer.replica,
        )


def _is_error(reply: EngineReply) -> bool:
    return isinstance(reply, hiredis.ReplyError)


def failure(status: int, text: str) -> HttpResponse:
    """Return an error that answers the whole request, which is JSON in any encoding."""
    return HttpResponse(status, encoding.failure(text), error=text)


def _faulty(response: HttpResponse, fault: Fault) -> HttpResponse:
    """Return a response as a fault changes it."""
    match fault.kind:
        case "unavailable":
            return HttpResponse(503, _UNAVAILABLE, "text/html", error=f"text/html, {len(_UNAVAILABLE)} bytes")
        case "server_error":
            return failure(500, "ERR internal error")
        case "throttled":
            response = failure(429, "ERR max concurrent requests limit exceeded")
            response.headers["retry-after"] = str(math.ceil(fault.seconds))
            return response
    response.delivery = _DELIVERIES[fault.kind]
    return response
