"""The thread of a local server: its event loop, databases and endpoints."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from chatstash.local.control import Control
from chatstash.local.database import Database
from chatstash.local.faults import DelayedRequests, Faults
from chatstash.local.gateway import Gateway, Grant
from chatstash.local.http.messages import Service
from chatstash.local.http.server import serving
from chatstash.local.settings import Settings
from chatstash.local.stats import Masker, Stats

_START_SECONDS = 30.0
_T = TypeVar("_T")


class Worker:
    """Serves the endpoints in a thread. Used once: after `stop`, create another."""

    def __init__(
        self,
        settings: Settings,
        engine_url: str,
        *,
        stats: Stats,
        faults: Faults,
        listeners: Sequence[socket.socket],
    ) -> None:
        self._settings = settings
        self._engine_url = engine_url
        self._stats = stats
        self._faults = faults
        self._listeners = listeners
        self._databases: list[Database] = []
        self._gateway: Gateway | None = None
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping: asyncio.Event | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chatstash-local-upstash", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether the thread is alive."""
        return self._thread.is_alive()

    @property
    def is_running(self) -> bool:
        """Whether the thread and the replicas are alive."""
        return self.is_alive and all(database.is_running for database in self._databases)

    @property
    def delayed(self) -> DelayedRequests | None:
        """The requests that a fault delays; None before the start."""
        return self._gateway.delayed if self._gateway is not None else None

    def start(self) -> None:
        """Start the thread, and wait until it serves; raises what goes wrong in it."""
        self._thread.start()
        if not self._started.wait(_START_SECONDS) or self._failure is not None:
            raise self._failure or TimeoutError("the local server did not start in time")

    def stop(self) -> None:
        """Stop serving, and wait until the thread has ended."""
        if self._loop is not None:
            # The loop may already be closed.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._end)
        if self._thread.ident is not None:
            self._thread.join()

    def call(self, work: Callable[[], Coroutine[Any, Any, _T]], seconds: float, failure: str) -> _T:
        """Run a coroutine in the thread, and wait for its result."""
        assert self._loop is not None
        if threading.current_thread() is self._thread:
            raise RuntimeError("the local server cannot wait for itself: do not call this from an on_request callback")
        future = asyncio.run_coroutine_threadsafe(work(), self._loop)
        try:
            return future.result(seconds)
        except TimeoutError:
            future.cancel()
            raise TimeoutError(f"the local server: {failure} in {seconds:g} s") from None

    async def flush(self) -> None:
        """Drop delayed requests, and empty the databases. Runs in the thread."""
        self._drop_delayed()
        for database in self._databases:
            await database.flush()

    async def reset(self) -> None:
        """Restore the state at the start. Runs in the thread."""
        self._faults.clear()
        self._faults.seed(self._settings.seed)
        self._drop_delayed()
        for database in self._databases:
            await database.reset()
        self._stats.reset()

    def _drop_delayed(self) -> None:
        assert self._gateway is not None
        self._gateway.delayed.drop()

    def _end(self) -> None:
        if self._stopping is not None:
            self._stopping.set()
        elif self._task is not None:
            # Still starting, perhaps waiting for a Redis that does not answer.
            self._task.cancel()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits in start
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        async with contextlib.AsyncExitStack() as closing:
            grants = await self._open_databases(closing)
            gateway = Gateway(grants, self._stats, self._faults, Masker(self._settings.secrets))
            self._gateway = gateway
            closing.push_async_callback(gateway.close)
            control = Control(
                self._settings.token, self._stats, self._faults, gateway.delayed, flush=self.flush, reset=self.reset
            )
            services: list[Service] = [gateway, control]
            for service, listener in zip(services, self._listeners, strict=False):
                counted = self._stats.count_connection if service is gateway else None
                await closing.enter_async_context(serving(service, listener, counted))
            self._stopping = asyncio.Event()
            self._started.set()
            await self._stopping.wait()

    async def _open_databases(self, closing: contextlib.AsyncExitStack) -> dict[str, Grant]:
        settings = self._settings
        first = Database(
            self._engine_url,
            limits=settings.limits,
            read_regions=settings.read_regions,
            replica_lag=settings.replica_lag,
            embedded=not settings.redis,
            # The only token may do everything, so its scripts can do no more.
            trusts_scripts=len(settings.tokens) == 1,
        )
        others = [
            Database(url, limits=settings.limits, read_regions=settings.read_regions)
            for url in settings.databases.values()
        ]
        self._databases = [first, *others]
        for database in self._databases:
            closing.push_async_callback(database.close)
            await database.open()
        grants = dict(zip([settings.token, *settings.databases], map(Grant, self._databases), strict=True))
        if settings.read_only_token:
            grants[settings.read_only_token] = Grant(first, read_only=True)
        return grants


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the factory of the faster loop if it is installed; it is not available on Windows."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return None
    return uvloop.new_event_loop
