"""`LocalUpstash`: the local server as a context manager, in a thread of this process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from weakref import WeakSet

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from chatstash.local.engine import Engine
from chatstash.local.gateway import Gateway
from chatstash.local.stats import Stats, StatsSnapshot

_START_SECONDS = 20.0
_KEEP_ALIVE_SECONDS = 75
_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")


class LocalUpstash:
    """A local Upstash on loopback: an embedded Valkey, or a Redis given, behind Upstash's REST API.

    Use it with `with`, or call `start` and `stop`. Needs the extra `chatstash[local]`.

    Args:
        port: Port on 127.0.0.1; 0 for any free one.
        token: The token clients must send; empty for a random one.
        data: A directory that keeps the data over restarts; None keeps none.
        redis: The URL of a Redis or Valkey to stand in front of (`redis://127.0.0.1:6379`); empty for the embedded one.

    Raises:
        ValueError: Both `data` and `redis` are given (a Redis keeps its own data), or the token is none that a client
            could send.

    Example:
        ```python
        from chatstash import UpstashRedisChatMessageHistory
        from chatstash.local import LocalUpstash

        with LocalUpstash() as upstash:
            history = UpstashRedisChatMessageHistory("user-42", upstash.url, upstash.token)
            history.add_user_message("Hello")
        ```
    """

    def __init__(self, *, port: int = 0, token: str = "", data: Path | str | None = None, redis: str = "") -> None:
        if data is not None and redis:
            raise ValueError("give either data= or redis=: a Redis of your own keeps its own data")
        if token and not _VISIBLE_ASCII.fullmatch(token):
            raise ValueError("token must be visible ASCII without spaces: no client could send another in a header")
        self.token = token or secrets.token_urlsafe(24)
        self._port = port
        self._engine = None if redis else Engine(Path(data) if data is not None else None)
        self._redis = redis
        self._stats = Stats()
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._listener: socket.socket | None = None
        self._process = 0

    def __repr__(self) -> str:
        return f"LocalUpstash(port={self._port}, token='***')"

    @property
    def url(self) -> str:
        """The REST URL, to be given to clients."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def stats(self) -> StatsSnapshot:
        """The server's counters now."""
        return self._stats.snapshot()

    @property
    def is_running(self) -> bool:
        """Whether server and engine are alive."""
        alive = self._thread is not None and self._thread.is_alive()
        return alive and (self._engine is None or self._engine.is_running)

    @property
    def environment(self) -> dict[str, str]:
        """The two variables that clients read url and token from."""
        return {"UPSTASH_REDIS_REST_URL": self.url, "UPSTASH_REDIS_REST_TOKEN": self.token}

    def start(self) -> Self:
        """Start engine and server, and wait until they answer.

        Raises:
            EngineError: The embedded Valkey cannot be started.
            OSError: The port is taken, or the Redis given cannot be reached.
            ValueError: The Redis given refuses its password, or its URL is none.
        """
        self._process = os.getpid()
        self._server = self._thread = self._failure = self._loop = None
        self._listener = _listen(self._port)
        _started.add(self)
        try:
            self._port = self._listener.getsockname()[1]
            if self._engine is not None:
                self._engine.start()
            self._serve(self._listener)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop server and engine. Stopping twice does no harm, and a forked child stops nothing of its parent's."""
        if self._process != os.getpid():
            return
        self._stop_server()
        if self._engine is not None:
            self._engine.stop()
        if self._listener is not None:
            self._listener.close()

    def _stop_server(self) -> None:
        if self._server is not None:
            self._server.should_exit = True
        elif self._loop is not None and self._task is not None:
            # Not yet serving: it may be waiting for a Redis that does not answer.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._task.cancel)
        if self._thread is not None:
            self._thread.join()

    def _forget_parent(self) -> None:
        """Let go of the port in a forked child, which would hold it beyond the parent's stop."""
        if self._listener is not None:
            self._listener.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _serve(self, listener: socket.socket) -> None:
        started = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(listener, started), name="chatstash-local-upstash", daemon=True
        )
        self._thread.start()
        if not started.wait(_START_SECONDS) or self._failure is not None:
            raise self._failure or TimeoutError("the local server did not start in time")

    def _run(self, listener: socket.socket, started: threading.Event) -> None:
        try:
            asyncio.run(self._run_server(listener, started))
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits in _serve
            self._failure = error
        finally:
            started.set()

    async def _run_server(self, listener: socket.socket, started: threading.Event) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        gateway = Gateway(self._engine.url if self._engine else self._redis, self.token, self._stats)
        await gateway.open()
        config = uvicorn.Config(
            gateway.application(),
            http=_counting(self._stats),
            lifespan="off",
            # uvicorn's default would reconfigure the logging of the whole process, the user's own included.
            log_config=None,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=2,
            ws="none",
        )
        self._server = uvicorn.Server(config)
        announcement = asyncio.create_task(_announce(self._server, started))
        await self._server.serve(sockets=[listener])
        announcement.cancel()
        gateway.close()


def _counting(stats: Stats) -> type[asyncio.Protocol]:
    """Return uvicorn's HTTP protocol, made to count its connections."""
    base: Any = AutoHTTPProtocol

    class Counting(base):  # type: ignore[misc] # which class it is, uvicorn decides by what is installed
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            # Not in the user's own access log. uvicorn's option for it would take that log's handlers away.
            self.access_log = False

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            stats.count_connection()
            super().connection_made(transport)

    return Counting


_started: WeakSet[LocalUpstash] = WeakSet()


def _forget_parents() -> None:
    for upstash in list(_started):
        upstash._forget_parent()  # noqa: SLF001 - this module's own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents)


async def _announce(server: uvicorn.Server, started: threading.Event) -> None:
    # uvicorn has no event to wait for.
    while not server.started:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    started.set()


def _listen(port: int) -> socket.socket:
    # Named TCP, for asyncio turns off Nagle's delay (40 ms a reply) only where the protocol says so.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        raise
    return listener
