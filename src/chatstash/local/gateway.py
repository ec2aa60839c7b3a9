"""The REST endpoint: Upstash's HTTP API as an ASGI application in front of an engine.

https://upstash.com/docs/redis/features/restapi. It implements no data command itself.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import secrets
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import hiredis
import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from chatstash.local import encoding
from chatstash.local.commands import (
    BadRequest,
    EngineCommand,
    ends_script,
    parse_batch,
    parse_command,
    refusal_of,
    runs_script,
    size_of,
)
from chatstash.local.encoding import Encoding, encoding_of
from chatstash.local.link import EngineReply, Link, LinkLost, connect
from chatstash.local.scripts import Scripts
from chatstash.local.stats import Stats

MAX_BYTES = 10 * 1024 * 1024
"""The limit for one command and for one reply, as on Upstash's free and pay-as-you-go plans."""


LONGEST_SCRIPT_SECONDS = 10.0
"""After so long a script is ended, for the engine does nothing else meanwhile; its client gets the engine's error."""


class Gateway:
    """The application for one database.

    Args:
        engine_url: Where the engine is (see `link.connect`).
        token: The token that requests must carry.
        stats: Where requests are counted.
    """

    def __init__(self, engine_url: str, token: str, stats: Stats) -> None:
        self._engine_url = engine_url
        self._token = token.encode()
        self._stats = stats
        self._scripts = Scripts()
        self._link: Link | None = None
        self._connecting = asyncio.Lock()
        self._server_id = secrets.token_hex(4)
        self._served = 0

    def application(self) -> Starlette:
        """Return the ASGI application."""
        methods = ["POST", "PUT"]
        application = Starlette(
            routes=[
                Route("/", self._counted(self._command), methods=methods),
                Route("/pipeline", self._counted(self._pipeline), methods=methods),
                Route("/multi-exec", self._counted(self._transaction), methods=methods),
            ],
            exception_handlers={HTTPException: self._http_error, Exception: self._internal_error},
        )
        application.router.redirect_slashes = False
        return application

    async def open(self) -> None:
        """Connect to the engine, so that what is wrong with it shows before the first request."""
        await self._engine()

    def close(self) -> None:
        """Close the connection to the engine."""
        if self._link is not None:
            self._link.close()

    async def _engine(self) -> Link:
        async with self._connecting:
            if self._link is None or self._link.is_lost:
                self._link = await connect(self._engine_url)
            return self._link

    def _counted(self, handle: Callable[[Request, bytes], Any]) -> Callable[[Request], Any]:
        """Wrap a handler: check the token, turn refusals into replies, count, and add a sync token."""

        async def handler(request: Request) -> Response:
            request.state.commands = 0
            try:
                body = await request.body()
            except ClientDisconnect:
                return _refused(400, "ERR the client went away before the end of its request")
            if self._is_authorized(request):
                response = await self._handled(handle, request, body)
            else:
                response = _refused(401, "WRONGPASS invalid or missing auth token")
            self._finish(request, response, len(body))
            return response

        return handler

    async def _handled(self, handle: Callable[[Request, bytes], Any], request: Request, body: bytes) -> Response:
        try:
            response: Response = await handle(request, body)
        except BadRequest as error:
            return _refused(400, str(error))
        except (RecursionError, orjson.JSONEncodeError):
            return _refused(500, "ERR the reply is nested too deeply for the local server")
        except (LinkLost, OSError) as error:
            return _refused(500, f"ERR the engine of the local server is gone: {error}")
        return response

    def _is_authorized(self, request: Request) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token)

    def _finish(self, request: Request, response: Response, received: int) -> None:
        self._served += 1
        # Opaque to clients, as Upstash's is.
        position = f"{self._server_id}:{self._served}".encode()
        response.headers["upstash-sync-token"] = base64.b64encode(position).decode()
        self._stats.count(commands=request.state.commands, received=received, sent=len(response.body))

    async def _command(self, request: Request, body: bytes) -> Response:
        wanted = encoding_of(request.headers, transaction=False)
        command = parse_command(body)
        request.state.commands = 1
        _check([command])
        (reply,) = await self._run([command])
        status = 400 if isinstance(reply, hiredis.ReplyError) else 200
        return Response(encoding.single(reply, wanted), status, media_type=wanted.content_type)

    async def _pipeline(self, request: Request, body: bytes) -> Response:
        wanted = encoding_of(request.headers, transaction=False)
        commands = parse_batch(body)
        request.state.commands = len(commands)
        # A command that is refused answers with its error; the others run.
        refusals = [_refusal(command) for command in commands]
        taken = [command for command, refusal in zip(commands, refusals, strict=True) if refusal is None]
        ran = iter(await self._run(taken))
        replies = [next(ran) if refusal is None else hiredis.ReplyError(refusal) for refusal in refusals]
        return Response(encoding.batch(replies, wanted), media_type=wanted.content_type)

    async def _transaction(self, request: Request, body: bytes) -> Response:
        wanted = encoding_of(request.headers, transaction=True)
        commands = parse_batch(body)
        request.state.commands = len(commands)
        # One refused command discards the transaction as a whole.
        _check(commands)
        queued = await self._engine_replies([["MULTI"], *commands, ["EXEC"]])
        if isinstance(queued[-1], hiredis.ReplyError):
            raise BadRequest(str(next(reply for reply in queued if isinstance(reply, hiredis.ReplyError))))
        replies = self._as_client_expects(commands, queued[-1])
        return Response(encoding.batch(replies, wanted), media_type=wanted.content_type)

    async def _run(self, commands: Sequence[EngineCommand]) -> list[EngineReply]:
        return self._as_client_expects(commands, await self._engine_replies(commands))

    async def _engine_replies(self, commands: Sequence[EngineCommand]) -> list[EngineReply]:
        if any(map(ends_script, commands)):
            return await self._run_apart(commands)
        link = await self._engine()
        running = link.run([self._scripts.to_engine(command) for command in commands])
        return await (self._watched(running) if any(map(runs_script, commands)) else running)

    async def _run_apart(self, commands: Sequence[EngineCommand]) -> list[EngineReply]:
        """Run commands on a connection of their own: on the shared one they would wait behind a script that runs."""
        link = await connect(self._engine_url, busy=True)
        try:
            return await link.run(commands)
        finally:
            link.close()

    async def _watched(self, running: Coroutine[Any, Any, list[EngineReply]]) -> list[EngineReply]:
        """Wait for commands with a script among them, and end a script that holds up everybody."""
        replies = asyncio.ensure_future(running)
        while not (await asyncio.wait({replies}, timeout=LONGEST_SCRIPT_SECONDS))[0]:
            await self._run_apart([["SCRIPT", "KILL"], ["FUNCTION", "KILL"]])
        return await replies

    def _as_client_expects(
        self, commands: Sequence[EngineCommand], replies: Sequence[EngineReply]
    ) -> list[EngineReply]:
        pairs = zip(commands, replies, strict=True)
        return [_limited(self._scripts.to_client(command, reply)) for command, reply in pairs]

    async def _http_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        text = {404: "ERR this path is not part of the local server's REST API", 405: "ERR method not allowed"}
        response = _refused(error.status_code, text.get(error.status_code, str(error.detail)))
        request.state.commands = 0
        self._finish(request, response, 0)
        return response

    async def _internal_error(self, _request: Request, error: Exception) -> Response:
        return _refused(500, f"ERR internal error of the local server ({type(error).__name__})")


def _refused(status: int, text: str) -> Response:
    return Response(encoding.failure(text), status, media_type=Encoding.JSON.content_type)


def _refusal(command: EngineCommand) -> str | None:
    size = size_of(command)
    if size > MAX_BYTES:
        return _too_large(size)
    return refusal_of(command)


def _check(commands: Sequence[EngineCommand]) -> None:
    for command in commands:
        if refusal := _refusal(command):
            raise BadRequest(refusal)


def _limited(reply: EngineReply) -> EngineReply:
    size = encoding.size_of(reply)
    return hiredis.ReplyError(_too_large(size)) if size > MAX_BYTES else reply


def _too_large(size: int) -> str:
    return f"ERR max request size exceeded. Limit: {MAX_BYTES} bytes, Actual: {size} bytes"
