"""`LocalUpstash`: the local server as a context manager, in a thread of this process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import threading
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from weakref import WeakSet

from chatstash.local.access import Access, Grant, check_token
from chatstash.local.control import Control, refused_control
from chatstash.local.database import Database
from chatstash.local.engine import Engine
from chatstash.local.faults import Faults
from chatstash.local.gateway import Gateway
from chatstash.local.http import HttpServer
from chatstash.local.listening import check_port, is_any, is_loopback, listen
from chatstash.local.masking import Masker, password_of
from chatstash.local.plans import Limits, limits_of
from chatstash.local.stats import LoggedRequest, Stats, StatsSnapshot

_START_SECONDS = 30.0
_FLUSH_SECONDS = 30.0
_HELD_SECONDS = 30.0
_NOT_EMPTIED = "the databases were not emptied, and may yet be (a script may still run),"
_NOT_APPLIED = "what was held was not applied"
_T = TypeVar("_T")


class LocalUpstash:
    """A local Upstash: an embedded Valkey, or a Redis given, behind Upstash's REST API.

    Use it with `with` or `async with`, or call `start` and `stop`. It runs in a thread of its own. Needs the extra
    `chatstash[local]`.

    Args:
        port: Port to listen on; 0 for any free one.
        token: The token clients must send; empty for a random one.
        data: A directory that keeps the data over restarts; None keeps none.
        redis: The URL of a Redis or Valkey to stand in front of (`redis://127.0.0.1:6379`); empty for the embedded one.
        read_only_token: A second token, which may only read (nor SCAN, nor KEYS); empty for none.
        databases: Further databases: the URL of a Redis or Valkey for each token.
        plan: The limits: the name of a plan (`free`, `payg`, …), or `Limits`.
        read_regions: How many regions besides the first each write is billed for.
        replica_lag: How far behind the replica is that answers reads without a fresh sync token, in seconds; None is
            no replica. Needs the embedded Valkey.
        fsync: `everysec` loses up to a second where the machine fails; `always` makes every write durable before it is
            answered. With `data` only.
        seed: Makes the chances of `faults` repeatable.
        host: Address to listen on. Anything but loopback lets others in; the token alone keeps them out.
        control_port: Port on 127.0.0.1 of the control endpoint (counters, log, faults), which takes `token`; 0 for any
            free one, None for no such endpoint.

    Attributes:
        token: The token clients must send.
        faults: What is to go wrong (see `Faults`).

    Raises:
        ValueError: Arguments that do not go together, or none of their kind.

    Example:
        ```python
        from chatstash import UpstashRedisChatMessageHistory
        from chatstash.local import LocalUpstash

        with LocalUpstash() as upstash:
            history = UpstashRedisChatMessageHistory("user-42", upstash.url, upstash.token)
            history.add_user_message("Hello")
        ```
    """

    def __init__(
        self,
        *,
        port: int = 0,
        token: str = "",
        data: Path | str | None = None,
        redis: str = "",
        read_only_token: str = "",
        databases: Mapping[str, str] | None = None,
        plan: str | Limits = "payg",
        read_regions: int = 0,
        replica_lag: float | None = None,
        fsync: Literal["everysec", "always"] = "everysec",
        seed: int | None = None,
        host: str = "127.0.0.1",
        control_port: int | None = None,
    ) -> None:
        _check_engine(data, redis, replica_lag, fsync)
        check_port("port", port)
        check_port("control_port", control_port or 0)
        if read_regions < 0:
            raise ValueError("read_regions must be a whole number from 0")
        self.token = check_token(token) if token else secrets.token_urlsafe(24)
        self.faults = Faults(seed)
        self._seed = seed
        self._host = host
        self._port = port
        self._control_port = control_port
        self._engine = None if redis else Engine(Path(data) if data is not None else None, fsync=fsync)
        self._redis = redis
        self._read_only_token = check_token(read_only_token, "read_only_token") if read_only_token else ""
        self._others = {check_token(key, "a token of databases"): url for key, url in (databases or {}).items()}
        self._limits = limits_of(plan) if isinstance(plan, str) else plan
        self._read_regions = read_regions
        self._replica_lag = replica_lag
        self._stats = Stats()
        self._databases: list[Database] = []
        self._gateway: Gateway | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None
        self._listeners: list[socket.socket] = []
        self._process = 0
        self._check_tokens()

    def __repr__(self) -> str:
        return f"LocalUpstash(port={self._port}, token='***')"

    @property
    def url(self) -> str:
        """The REST URL, to be given to clients."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{'127.0.0.1' if is_any(self._host) else host}:{self._port}"

    @property
    def control_url(self) -> str:
        """The URL of the control endpoint; empty where there is none."""
        return "" if self._control_port is None else f"http://127.0.0.1:{self._control_port}"

    @property
    def stats(self) -> StatsSnapshot:
        """The server's counters now."""
        return self._stats.snapshot()

    @property
    def log(self) -> list[LoggedRequest]:
        """The newest requests, oldest first, up to 10,000."""
        return self._stats.log

    @property
    def is_running(self) -> bool:
        """Whether server and engine are alive."""
        alive = self._thread is not None and self._thread.is_alive()
        engine = self._engine is None or self._engine.is_running
        return alive and engine and all(database.is_running for database in self._databases)

    @property
    def is_open_to_others(self) -> bool:
        """Whether other machines can reach it."""
        return not is_loopback(self._host)

    @property
    def environment(self) -> dict[str, str]:
        """The two variables that clients read url and token from, and that of the control endpoint if there is one."""
        variables = {"UPSTASH_REDIS_REST_URL": self.url, "UPSTASH_REDIS_REST_TOKEN": self.token}
        return {**variables, "CHATSTASH_CONTROL_URL": self.control_url} if self.control_url else variables

    def on_request(self, call: Callable[[LoggedRequest], None] | None) -> None:
        """Have each request reported as it is answered, in the server's thread; None ends that."""
        self._stats.on_request = call

    def start(self) -> Self:
        """Start engine and server, and wait until they answer.

        Raises:
            EngineError: The embedded Valkey cannot be started.
            ListenError: A port is taken, or may not be used; also an OSError.
            OSError: The Redis given cannot be reached.
            ValueError: The Redis given refuses its password, or its URL is none.
            RuntimeError: It runs already.
        """
        if self._thread is not None and self._thread.is_alive():
            raise RuntimeError("this local server runs already: stop it first, or make another one")
        self._process = os.getpid()
        self._thread = self._failure = self._loop = self._task = self._stopping = None
        _started.add(self)
        try:
            self._listeners = [listen(self._host, self._port)]
            self._port = self._listeners[0].getsockname()[1]
            if self._control_port is not None:
                self._listeners.append(listen("127.0.0.1", self._control_port))
                self._control_port = self._listeners[1].getsockname()[1]
            if self._engine is not None:
                self._engine.start()
            self._serve()
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
        self._close_listeners()

    @property
    def held(self) -> list[tuple[str, ...]]:
        """The commands of each request that a fault with `held` keeps back, oldest first, as the log describes them."""
        return self._gateway.late.waiting if self._gateway is not None else []

    def wait_until_held(self, count: int = 1, timeout: float = _HELD_SECONDS) -> None:
        """Block until so many requests are held.

        Args:
            count: How many.
            timeout: How long to wait at most, in seconds.

        Raises:
            TimeoutError: They did not come in time.
        """
        self._call(lambda gateway: gateway.late.until_held(count), timeout, f"{count} requests were not held")

    def release(self, count: int | None = None, *, matching: str = "") -> int:
        """Let held requests go on, one after the other, oldest first; they are applied when this returns.

        Args:
            count: How many at most; None for all.
            matching: Only those with such a command, as in `Fault`.

        Returns:
            How many there were.

        Raises:
            TimeoutError: They were not applied in 30 seconds.
            ValueError: A negative count.
        """
        if count is not None and count < 0:
            raise ValueError("count must be a whole number from 0, or None for all")
        return self._call(lambda gateway: gateway.late.release(count, matching), _FLUSH_SECONDS, _NOT_APPLIED)

    def flush(self) -> None:
        """Empty the databases, replicas too, and forget what was to be applied late. Blocks for a moment."""
        self._call(lambda _: self._flush(), _FLUSH_SECONDS, _NOT_EMPTIED)

    def reset(self) -> None:
        """Make everything as it was at the start: no data or scripts, no faults, the same chances, counters at 0.

        Of a Redis given, only the data of its database are taken away.
        """
        self._call(lambda _: self._reset(), _FLUSH_SECONDS, _NOT_EMPTIED)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    def _call(self, work: Callable[[Gateway], Coroutine[Any, Any, _T]], seconds: float, failure: str) -> _T:
        """Do something in the server's thread, and wait until it is done."""
        if self._loop is None or self._gateway is None or not self.is_running:
            raise RuntimeError("the local server is not running")
        if threading.current_thread() is self._thread:
            raise RuntimeError("the local server cannot wait for itself: not from within a callback of on_request")
        doing = asyncio.run_coroutine_threadsafe(work(self._gateway), self._loop)
        try:
            return doing.result(seconds)
        except TimeoutError:
            doing.cancel()
            raise TimeoutError(f"the local server: {failure} in {seconds:g} s") from None

    async def _flush(self) -> None:
        assert self._gateway is not None
        self._gateway.late.drop()
        for database in self._databases:
            await database.flush()

    async def _reset(self) -> None:
        assert self._gateway is not None
        self.faults.clear()
        self.faults.seed(self._seed)
        self._gateway.late.drop()
        for database in self._databases:
            await database.reset()
        self._stats.reset()

    def _secrets(self) -> list[str]:
        passwords = [password_of(url) for url in (self._redis, *self._others.values())]
        return [self.token, self._read_only_token, *self._others, *passwords]

    def _check_tokens(self) -> None:
        tokens = [self.token, *self._others, *([self._read_only_token] if self._read_only_token else [])]
        if len(set(tokens)) < len(tokens):
            raise ValueError("two tokens are the same: each database and each permission needs one of its own")

    def _stop_server(self) -> None:
        if self._loop is not None:
            # The loop may have ended by itself.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._end)
        if self._thread is not None:
            self._thread.join()

    def _end(self) -> None:
        if self._stopping is not None:
            self._stopping.set()
        elif self._task is not None:
            # Not yet serving: it may be waiting for a Redis that does not answer.
            self._task.cancel()

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.close()

    def _serve(self) -> None:
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), name="chatstash-local-upstash", daemon=True)
        self._thread.start()
        if not started.wait(_START_SECONDS) or self._failure is not None:
            raise self._failure or TimeoutError("the local server did not start in time")

    def _run(self, started: threading.Event) -> None:
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(self._run_server(started))
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits in _serve
            self._failure = error
        finally:
            started.set()

    async def _run_server(self, started: threading.Event) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        async with contextlib.AsyncExitStack() as closing:
            access = await self._open_databases(closing)
            self._gateway = Gateway(access, self._stats, self.faults, Masker(self._secrets()))
            closing.push_async_callback(self._gateway.close)
            server = HttpServer(
                self._gateway.handle, self._gateway.refuse, self._gateway.admit, self._stats.count_connection
            )
            await server.start(self._listeners[0])
            closing.push_async_callback(server.stop)
            if self._control_port is not None:
                control = Control(
                    self.token,
                    stats=self._stats,
                    faults=self.faults,
                    late=self._gateway.late,
                    flush=self._flush,
                    reset=self._reset,
                )
                control_server = HttpServer(control.handle, refused_control, control.admit)
                await control_server.start(self._listeners[1])
                closing.push_async_callback(control_server.stop)
            self._stopping = asyncio.Event()
            started.set()
            await self._stopping.wait()

    async def _open_databases(self, closing: contextlib.AsyncExitStack) -> Access[Database]:
        access: Access[Database] = Access()
        first = Database(
            self._engine.url if self._engine else self._redis,
            limits=self._limits,
            read_regions=self._read_regions,
            replica_lag=self._replica_lag,
            is_ours=self._engine is not None,
            # With one token that may do all, scripts can do no more than whoever sends them.
            trusts_scripts=not self._others and not self._read_only_token,
        )
        others = [Database(url, limits=self._limits, read_regions=self._read_regions) for url in self._others.values()]
        self._databases = [first, *others]
        for database in self._databases:
            closing.push_async_callback(database.close)
            await database.open()
        access.allow(self.token, Grant(first))
        if self._read_only_token:
            access.allow(self._read_only_token, Grant(first, read_only=True))
        for token, database in zip(self._others, others, strict=True):
            access.allow(token, Grant(database))
        return access


_started: WeakSet[LocalUpstash] = WeakSet()


def _forget_parents() -> None:
    """Let go of the ports in a forked child, which would hold them beyond the parent's stop."""
    for upstash in list(_started):
        for listener in upstash._listeners:  # noqa: SLF001 - this module's own
            # The parent's loop, of which the child has a copy, would put off a mere close.
            if (descriptor := listener.detach()) >= 0:
                os.close(descriptor)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents)


def _check_engine(data: Path | str | None, redis: str, replica_lag: float | None, fsync: str) -> None:
    if data is not None and redis:
        raise ValueError("give either data or redis: a Redis of your own keeps its own data")
    if fsync not in ("everysec", "always"):
        raise ValueError("fsync must be everysec or always")
    if fsync == "always" and data is None:
        raise ValueError("fsync='always' needs data, a directory to keep the data in")
    if replica_lag is not None and (redis or not 0 <= replica_lag <= 3600):
        raise ValueError("replica_lag must be from 0 to 3600 seconds, and needs the embedded Valkey")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the faster loop where it is installed, which it is not on Windows."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return None
    return uvloop.new_event_loop
