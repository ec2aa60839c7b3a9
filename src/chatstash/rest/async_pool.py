"""HTTP for asyncio: one aiohttp session per database and running event loop. Opens sockets.

A session is closed with its loop: an async generator owns it, and `asyncio.run` finalises those before the loop ends.
"""

from __future__ import annotations

import asyncio
import io
import os
import ssl
import time
from collections.abc import AsyncGenerator
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property

import aiohttp
from aiohttp.connector import Connection

from chatstash.errors import DatabaseError
from chatstash.rest.deadline import CONNECT_TIMEOUT, MAX_IDLE, Deadline
from chatstash.rest.endpoint import Endpoint
from chatstash.rest.failures import bare, broken, drop_frames, timed_out
from chatstash.rest.fork import begins_anew_after_fork
from chatstash.rest.network import Proxy, proxy_for, tls_context
from chatstash.rest.protocol import HttpReply, HttpRequest

_LARGE_BODY = 2**20
_CLOCKS_AGREE = 1.0


async def _owned(session: aiohttp.ClientSession) -> AsyncGenerator[None]:
    process = os.getpid()
    try:
        yield
    finally:
        # A child that was forked within the loop shares the parent's selector: closing here would deafen the parent.
        if os.getpid() == process:
            await session.close()


def _clock_gap() -> float:
    """Return the wall clock less the monotonic one: it changes where the process was frozen or the clock set."""
    return time.time() - time.monotonic()


@dataclass
class _Sending:
    """How far a request has come: the transport it is written to, once that has begun."""

    transport: asyncio.BaseTransport | None = None
    process: int = field(default_factory=os.getpid)

    @property
    def has_begun(self) -> bool:
        """Whether any of the request may have gone out."""
        return self.transport is not None

    def abort(self) -> None:
        """Drop what is not yet written; closing would hold it, and the connection, until the server takes it in."""
        if isinstance(self.transport, asyncio.WriteTransport) and self.process == os.getpid():
            self.transport.abort()


# aiohttp tells a request its connection, but not its caller.
_sending: ContextVar[_Sending] = ContextVar("chatstash_sending")


class _Request(aiohttp.ClientRequest):
    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        _sending.get().transport = conn.transport
        return await super().send(conn)


@dataclass
class _LoopSession:
    """A session, what closes it with its loop, and whether it may still be used."""

    session: aiohttp.ClientSession
    owner: AsyncGenerator[None]
    clock_gap: float = field(default_factory=_clock_gap)
    in_flight: int = 0
    retired: bool = False

    @property
    def is_current(self) -> bool:
        """Whether its connections may be trusted: not closed, and not from before a freeze."""
        return not self.session.closed and abs(_clock_gap() - self.clock_gap) <= _CLOCKS_AGREE

    async def close_when_unused(self) -> None:
        """Close a retired session once its last request has ended."""
        if self.retired and not self.in_flight:
            await self.owner.aclose()


class AsyncPool:
    """The connections of one database for the event loops of this process.

    Args:
        endpoint: The database.
        max_connections: How many a loop may have open at the same time; requests beyond that wait for one.
    """

    def __init__(self, endpoint: Endpoint, max_connections: int) -> None:
        self._endpoint = endpoint
        self._max_connections = max_connections
        self._sessions: dict[asyncio.AbstractEventLoop, _LoopSession] = {}
        # Sessions of a parent process, kept so that they are never closed or finalised here.
        self._inherited: list[object] = []
        begins_anew_after_fork(self)

    async def exchange(self, request: HttpRequest, deadline: Deadline) -> HttpReply:
        """Send one request and return the whole reply, by the deadline.

        Raises:
            ConnectionFailed: No connection, or it broke.
            RequestTimeout: No whole reply in time.
        """
        held = await self._open_session()
        held.in_flight += 1
        sending = _Sending()
        _sending.set(sending)
        try:
            return await self._post(held.session, request, deadline)
        except (aiohttp.ClientError, OSError) as error:
            sending.abort()
            failure, cause = _converted(error, sending), bare(error, self._endpoint.token)
        except asyncio.CancelledError as error:
            sending.abort()
            if _was_cancelled():
                drop_frames(error)
                raise
            # The pool was closed while this waited for one of its connections.
            failure, cause = broken(sent=sending.has_begun), bare(error, self._endpoint.token)
        except BaseException as error:
            drop_frames(error)
            raise
        finally:
            held.in_flight -= 1
            await held.close_when_unused()
        # Not raised where the library's error is handled, for it would come along as the context.
        raise failure from cause

    async def aclose(self) -> None:
        """Close the running loop's session; the pool opens a new one when it is used again."""
        held = self._sessions.pop(asyncio.get_running_loop(), None)
        if held is not None:
            await held.owner.aclose()

    def forget_parent(self) -> None:
        """Begin with fresh connections in a child process."""
        self._inherited.append(self._sessions)
        self._sessions = {}

    async def _post(self, session: aiohttp.ClientSession, request: HttpRequest, deadline: Deadline) -> HttpReply:
        async with session.post(
            self._endpoint.url + request.path,
            data=_payload(request.body),
            headers=request.headers if self._is_tunnelled else {**request.headers, **self._proxy_headers},
            timeout=_timeout(deadline),
            allow_redirects=False,
            proxy=self._proxy.url if self._proxy else None,
            proxy_headers=self._proxy_headers if self._is_tunnelled else None,
        ) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            return HttpReply(response.status, headers, await response.read())

    async def _open_session(self) -> _LoopSession:
        loop = asyncio.get_running_loop()
        held = self._sessions.get(loop)
        if held is not None and held.is_current:
            return held
        self._forget_closed_loops()
        fresh = self._sessions[loop] = self._new_session()
        # Started only now, so that no other task finds the place empty meanwhile.
        await anext(fresh.owner)
        if held is not None:
            held.retired = True
            await held.close_when_unused()
        return fresh

    def _forget_closed_loops(self) -> None:
        for loop in list(self._sessions):
            if loop.is_closed():
                self._sessions.pop(loop, None)

    def _new_session(self) -> _LoopSession:
        connector = aiohttp.TCPConnector(
            limit=self._max_connections, keepalive_timeout=MAX_IDLE, ssl=self._tls if self._needs_tls else True
        )
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            request_class=_Request,
        )
        return _LoopSession(session, _owned(session))

    @property
    def _needs_tls(self) -> bool:
        return self._endpoint.scheme == "https" or (self._proxy is not None and self._proxy.is_https)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return tls_context()

    @cached_property
    def _proxy(self) -> Proxy | None:
        return proxy_for(self._endpoint)

    @cached_property
    def _proxy_headers(self) -> dict[str, str]:
        return self._proxy.headers if self._proxy else {}

    @cached_property
    def _is_tunnelled(self) -> bool:
        # Credentials for the proxy go with the CONNECT then, and never to the database.
        return self._proxy is not None and self._endpoint.scheme == "https"


def _was_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _payload(body: bytes) -> bytes | io.BytesIO:
    # aiohttp warns of a large body given as bytes, for it would be written in one go.
    return body if len(body) <= _LARGE_BODY else io.BytesIO(body)


def _timeout(deadline: Deadline) -> aiohttp.ClientTimeout:
    # Connecting ends a little before the whole does, so that a request that never went out is known as such.
    seconds = deadline.remaining()
    most = seconds * 0.98
    return aiohttp.ClientTimeout(
        total=seconds, connect=most, sock_connect=min(CONNECT_TIMEOUT, most), sock_read=deadline.patience()
    )


# Raised before a request is begun, or at any time. The last but one is of a proxy that refuses the tunnel.
_MAYBE_NOT_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientProxyConnectionError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
    TimeoutError,
)


def _converted(error: Exception, sending: _Sending) -> DatabaseError:
    """Return the error of this package for one of aiohttp's or the socket's.

    Not sent is only what both say was not: the error's kind, and that writing had not begun.
    """
    sent = sending.has_begun or not isinstance(error, _MAYBE_NOT_SENT)
    return timed_out(sent=sent) if isinstance(error, TimeoutError) else broken(sent=sent)
