"""The REST endpoint: Upstash's HTTP API in front of databases.

https://upstash.com/docs/redis/features/restapi
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import math
import re
import secrets
import time
from collections.abc import AsyncIterator, Sequence

import hiredis
import orjson

from chatstash.local import encoding
from chatstash.local.access import Access, Grant
from chatstash.local.calls import Call, Kind, parse_call, token_of
from chatstash.local.commands import EngineReply, name_of
from chatstash.local.database import Answer, Database
from chatstash.local.encoding import Encoding
from chatstash.local.faults import Fault, Faults
from chatstash.local.http import Delivery, HttpRequest, HttpResponse
from chatstash.local.late import LateRequests
from chatstash.local.link import Feed, LinkLost
from chatstash.local.masking import Masker
from chatstash.local.monitor import monitored
from chatstash.local.refusals import BadRequest
from chatstash.local.stats import LoggedRequest, Stats, described, milliseconds

_DELIVERIES = {
    "reply_lost": Delivery.LOST,
    "request_lost": Delivery.LOST,
    "applied_late": Delivery.LOST,
    "replayed": Delivery.WHOLE,
    "reset": Delivery.RESET,
    "truncated": Delivery.TRUNCATED,
    "no_answer": Delivery.NEVER,
}
# By the specification each of these ends a line of an event.
_LINE_END = re.compile(rb"\r\n|\r|\n")
_ENGINE_GONE = (
    "the local server has lost its engine: whether this was applied is not known. "
    "It goes on once the engine answers again; if it is the embedded one, start the server anew"
)
_UNAVAILABLE = b"<html><head><title>503 Service Unavailable</title></head><body><h1>503</h1></body></html>\n"


class Gateway:
    """Answers HTTP requests as Upstash does, faults on demand included.

    Args:
        access: The tokens, and the database that each opens.
        stats: Where requests are counted.
        faults: What is to go wrong.
        mask: Leaves secrets out of the log.
    """

    def __init__(self, access: Access[Database], stats: Stats, faults: Faults, mask: Masker) -> None:
        self._access = access
        self._stats = stats
        self._faults = faults
        self._mask = mask
        self._server_id = secrets.token_hex(4)
        self._replays: set[asyncio.Task[None]] = set()
        self.late = LateRequests(mask)
        """The requests that a fault holds up."""

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        self._stats.requests += 1
        handled = _Handled(request, self._stats.requests)
        handled.seen = self._position(request.headers.get(b"upstash-sync-token"))
        try:
            response = await self._answer(handled)
        except BadRequest as error:
            response = failure(400, str(error))
        except (LinkLost, OSError) as error:
            response = failure(500, f"ERR {_ENGINE_GONE} ({error})")
        except (RecursionError, orjson.JSONEncodeError):
            response = failure(500, "ERR the reply is nested too deeply for the local server")
        response.headers["upstash-sync-token"] = self._sync_token(handled)
        self._count(handled, response)
        return response

    def admit(self, head: HttpRequest) -> HttpResponse | None:
        """Return the answer to a request whose token opens nothing, of which its body is not read."""
        if self._access.grant_of(token_of(head.target, head.headers)) is not None:
            return None
        self._stats.requests += 1
        handled = _Handled(head, self._stats.requests)
        response = failure(401, "WRONGPASS invalid or missing auth token")
        response.headers["upstash-sync-token"] = self._sync_token(handled)
        self._count(handled, response)
        return response

    def refuse(self, status: int, reason: str) -> HttpResponse:
        """Answer what is no request of the API at all."""
        self._stats.requests += 1
        response = failure(status, f"ERR {reason}")
        self._count(_Handled(HttpRequest("", b"", {}, b""), self._stats.requests), response)
        return response

    async def close(self) -> None:
        """End what is still to be applied late."""
        self.late.drop()
        for replay in self._replays:
            replay.cancel()
        await asyncio.gather(*self._replays, return_exceptions=True)

    async def _answer(self, handled: _Handled) -> HttpResponse:
        request = handled.request
        grant = self._access.grant_of(token_of(request.target, request.headers))
        assert grant is not None  # it was admitted
        handled.call = call = parse_call(request.target, request.headers, request.body)
        if faults := self._faults.pick(call.commands):
            return await self._answer_with_faults(handled, grant, faults)
        return await self._answer_well(handled, grant)

    async def _answer_well(self, handled: _Handled, grant: Grant[Database]) -> HttpResponse:
        call = handled.call
        assert call is not None
        if call.kind is Kind.EVENTS:
            if handled.request.method == "HEAD":
                return HttpResponse(200, content_type="text/event-stream")
            feed = await grant.database.events(call, read_only=grant.read_only)
            return HttpResponse(
                200, content_type="text/event-stream", events=_EventStream(call, feed, grant.database.number)
            )
        handled.answer = answer = await grant.database.answer(call, read_only=grant.read_only, seen=handled.seen)
        if call.kind is Kind.COMMAND:
            status = 400 if isinstance(answer.replies[0], hiredis.ReplyError) else 200
            body = encoding.single(answer.replies[0], call.encoding)
        else:
            status = 200
            body = encoding.batch(answer.replies, call.encoding)
        return HttpResponse(status, body, call.encoding.content_type)

    async def _answer_with_faults(
        self, handled: _Handled, grant: Grant[Database], faults: Sequence[Fault]
    ) -> HttpResponse:
        handled.fault = " ".join(fault.kind for fault in faults)
        delays = [fault for fault in faults if fault.kind == "delay"]
        others = [fault for fault in faults if fault.kind != "delay"]
        async with self._delayed(handled, [fault for fault in delays if not fault.applied]) as goes_on:
            if not goes_on:
                return HttpResponse(200, delivery=Delivery.LOST)
            response = await self._answer_with(handled, grant, others[0] if others else None)
        async with self._delayed(handled, [fault for fault in delays if fault.applied]) as goes_on:
            return response if goes_on else HttpResponse(200, delivery=Delivery.LOST)

    @contextlib.asynccontextmanager
    async def _delayed(self, handled: _Handled, delays: Sequence[Fault]) -> AsyncIterator[bool]:
        """Wait for each of these delays; tells whether the request is to go on."""
        async with contextlib.AsyncExitStack() as waits:
            due = [self._due(handled, fault) for fault in delays]
            yield all([await waits.enter_async_context(each) for each in due])

    async def _answer_with(self, handled: _Handled, grant: Grant[Database], fault: Fault | None) -> HttpResponse:
        if fault is None:
            return await self._answer_well(handled, grant)
        is_event = handled.call is not None and handled.call.kind is Kind.EVENTS
        response = (
            await self._answer_well(handled, grant) if fault.runs_commands and not is_event else HttpResponse(200)
        )
        if fault.kind == "replayed" and not (fault.held or fault.seconds):
            self._stats.count_late(handled.answer.counted)
            response = await self._answer_well(handled, grant)
        elif fault.kind in ("applied_late", "replayed") and not is_event:
            self._replay(handled, grant, fault)
        return _spoilt(response, fault)

    def _due(self, handled: _Handled, fault: Fault) -> contextlib.AbstractAsyncContextManager[bool]:
        assert handled.call is not None
        return self.late.due(fault, self.late.hold(handled.call.commands) if fault.held else None)

    def _replay(self, handled: _Handled, grant: Grant[Database], fault: Fault) -> None:
        # Held from this moment on: who is answered now can release it.
        task = asyncio.get_running_loop().create_task(self._replayed(handled, grant, self._due(handled, fault)))
        self._replays.add(task)
        task.add_done_callback(self._replays.discard)

    async def _replayed(
        self, handled: _Handled, grant: Grant[Database], due: contextlib.AbstractAsyncContextManager[bool]
    ) -> None:
        late = _Handled(handled.request, handled.number)
        late.call = handled.call
        async with due as goes_on:
            # Nobody is there any more to be told what was wrong with it.
            with contextlib.suppress(BadRequest, LinkLost, OSError):
                if goes_on:
                    await self._answer_well(late, grant)
        self._stats.count_late(late.answer.counted)

    def _count(self, handled: _Handled, response: HttpResponse) -> None:
        entry = handled.entry(response, self._mask)
        self._stats.count(entry, handled.answer.counted)
        if self._stats.on_request is not None:
            # By the loop, which reports what goes wrong in it: that is no affair of the client's.
            asyncio.get_running_loop().call_soon(self._stats.on_request, entry)

    def _sync_token(self, handled: _Handled) -> str:
        # Opaque to clients, as Upstash's is. A request that was refused has seen no more than it said.
        position = handled.answer.position or handled.seen or 0
        return base64.b64encode(f"{self._server_id}:{position}".encode()).decode()

    def _position(self, token: bytes | None) -> int | None:
        """Return the position of a sync token; None for one that is none of this server's."""
        if not token:
            return None
        try:
            server_id, _, position = base64.b64decode(token, validate=True).partition(b":")
            return int(position) if server_id == self._server_id.encode() else None
        except ValueError:
            return None


class _Handled:
    """A request on its way."""

    __slots__ = ("answer", "call", "fault", "number", "request", "seen", "started")

    def __init__(self, request: HttpRequest, number: int) -> None:
        self.request = request
        self.number = number
        self.call: Call | None = None
        self.fault = ""
        self.seen: int | None = None
        self.answer = Answer([])
        self.started = time.perf_counter()

    def entry(self, response: HttpResponse, mask: Masker) -> LoggedRequest:
        """Return the log's entry."""
        commands = self.call.commands if self.call is not None else []
        return LoggedRequest(
            number=self.number,
            time=milliseconds(),
            kind=self.call.kind.value if self.call is not None else "refused",
            commands=described(commands, mask),
            command_count=len(commands),
            status=response.status,
            error=mask(_error_of(response, self.answer)),
            bytes_received=len(self.request.body),
            bytes_sent=len(response.body),
            billed_commands=self.answer.counted.billed,
            seconds=time.perf_counter() - self.started,
            fault=self.fault,
            replica=self.answer.replica,
        )


def _error_of(response: HttpResponse, answer: Answer) -> str:
    """Return the first error of a reply, or of the replies in it."""
    errors = [str(reply) for reply in answer.replies if isinstance(reply, hiredis.ReplyError)]
    if errors or response.status == 200:
        return errors[0] if errors else ""
    try:
        return str(orjson.loads(response.body)["error"])
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return f"{response.content_type}, {len(response.body)} bytes"


def failure(status: int, text: str) -> HttpResponse:
    """Return an error that answers the whole request, in JSON whatever was asked for."""
    return HttpResponse(status, encoding.failure(text), Encoding.JSON.content_type)


def _spoilt(response: HttpResponse, fault: Fault) -> HttpResponse:
    """Return what a fault makes of a response."""
    match fault.kind:
        case "unavailable":
            return HttpResponse(503, _UNAVAILABLE, "text/html")
        case "server_error":
            return failure(500, "ERR internal error")
        case "throttled":
            response = failure(429, "ERR max concurrent requests limit exceeded")
            response.headers["retry-after"] = str(math.ceil(fault.seconds))
            return response
    response.delivery = _DELIVERIES[fault.kind]
    return response


class _EventStream:
    """What a subscription or MONITOR yields, as server-sent events."""

    def __init__(self, call: Call, feed: Feed, database: int) -> None:
        self._is_monitor = name_of(call.commands[0]) == "MONITOR"
        self._feed = feed
        self._database = database

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._events()

    def close(self) -> None:
        """End the subscription."""
        self._feed.close()

    async def _events(self) -> AsyncIterator[bytes]:
        with contextlib.suppress(LinkLost):
            while True:
                reply = await self._feed.next()
                text = _monitor_event(reply, self._database) if self._is_monitor else _message_event(reply)
                if text is not None:
                    yield b"".join(b"data: %b\n" % line for line in _LINE_END.split(text)) + b"\n"


def _monitor_event(reply: EngineReply, database: int) -> bytes | None:
    if not isinstance(reply, bytes):
        return str(reply).encode()
    return b'"OK"' if reply == b"OK" else monitored(reply, database)


def _message_event(reply: EngineReply) -> bytes:
    parts = reply if isinstance(reply, list) else [str(reply).encode()]
    return b",".join(part if isinstance(part, bytes) else str(part).encode() for part in parts)
