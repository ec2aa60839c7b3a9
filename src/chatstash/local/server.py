"""`LocalUpstash`: the local server as a context manager."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from chatstash.local.database import Limits, limits_of
from chatstash.local.engine import Engine
from chatstash.local.faults import DelayedRequests, Faults
from chatstash.local.http.listening import check_port, is_any, is_loopback, listen
from chatstash.local.settings import Settings
from chatstash.local.stats import LoggedRequest, Stats, StatsSnapshot
from chatstash.local.worker import Worker

_CALL_SECONDS = 30.0
_NOT_EMPTIED = "the databases were not emptied, perhaps because a script still runs,"


class LocalUpstash:
    """A local Upstash: Upstash's REST API in front of an embedded Valkey or another Redis.

    Use it with `with` or `async with`, or call `start` and `stop`. It runs in a separate thread. Requires the extra
    `chatstash[local]`.

    Args:
        port: The port to listen on; 0 for any free one.
        token: The token that clients must send; empty for a random one.
        data: A directory that keeps the data over restarts; None keeps no data.
        redis: The URL of a Redis or Valkey to use (`redis://127.0.0.1:6379`); empty for the embedded one.
        read_only_token: A second token that may only read, without SCAN and KEYS; empty for none.
        databases: Further databases: a token and the URL of a Redis or Valkey for each.
        plan: The limits: the name of a plan (`free`, `payg`, …), or `Limits`.
        read_regions: The number of read regions, for each of which writes are billed once more.
        replica_lag: How far a replica lags, in seconds; it answers reads without a newer sync token. None for no
            replica. Requires the embedded Valkey.
        fsync: `everysec` may lose a second of writes if the machine fails; `always` makes each write durable before it
            is answered. Requires `data`.
        seed: Makes random faults repeatable.
        host: The address to listen on. Any address but loopback is open to other machines, protected only by the token.
        control_port: The port of the control endpoint on 127.0.0.1 (counters, log, faults), which requires `token`; 0
            for any free one, None for no such endpoint.

    Attributes:
        token: The token that clients must send.
        faults: What goes wrong (see `Faults`).

    Raises:
        ValueError: Options are invalid, or do not go together.

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
        check_port("port", port)
        check_port("control_port", control_port or 0)
        self._settings = settings = Settings(
            token=token or secrets.token_urlsafe(24),
            limits=limits_of(plan) if isinstance(plan, str) else plan,
            data=Path(data) if data is not None else None,
            redis=redis,
            read_only_token=read_only_token,
            databases=dict(databases or {}),
            read_regions=read_regions,
            replica_lag=replica_lag,
            fsync=fsync,
            seed=seed,
        )
        self.token = settings.token
        self.faults = Faults(seed)
        self._stats = Stats()
        self._engine = None if redis else Engine(settings.data, fsync=fsync)
        self._host, self._port, self._control_port = host, port, control_port
        self._listeners: list[socket.socket] = []
        self._worker: Worker | None = None
        self._process = 0

    def __repr__(self) -> str:
        return f"LocalUpstash(port={self._port}, token='***')"

    @property
    def url(self) -> str:
        """The REST URL for clients."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{'127.0.0.1' if is_any(self._host) else host}:{self._port}"

    @property
    def control_url(self) -> str:
        """The URL of the control endpoint; empty if there is none."""
        return "" if self._control_port is None else f"http://127.0.0.1:{self._control_port}"

    @property
    def stats(self) -> StatsSnapshot:
        """The current counters."""
        return self._stats.snapshot()

    @property
    def log(self) -> list[LoggedRequest]:
        """The newest requests, oldest first, up to 10,000."""
        return self._stats.log

    @property
    def is_running(self) -> bool:
        """Whether the server and its engine are alive."""
        engine = self._engine is None or self._engine.is_running
        return engine and self._worker is not None and self._worker.is_running

    @property
    def is_open_to_others(self) -> bool:
        """Whether other machines can reach it."""
        return not is_loopback(self._host)

    @property
    def environment(self) -> dict[str, str]:
        """The variables from which clients read URL and token, and the URL of the control endpoint if there is one."""
        variables = {"UPSTASH_REDIS_REST_URL": self.url, "UPSTASH_REDIS_REST_TOKEN": self.token}
        return {**variables, "CHATSTASH_CONTROL_URL": self.control_url} if self.control_url else variables

    @property
    def held(self) -> list[tuple[str, ...]]:
        """The commands of each request that a fault with `held` holds, oldest first, as the log shows them."""
        delayed = self._worker.delayed if self._worker is not None else None
        return delayed.held if delayed is not None else []

    def on_request(self, call: Callable[[LoggedRequest], None] | None) -> None:
        """Set the callback for each answered request, which runs in the server's thread; None for no callback."""
        self._stats.on_request = call

    def start(self) -> Self:
        """Start the engine and the server, and wait until they answer.

        Raises:
            EngineError: The embedded Valkey cannot be started.
            ListenError: A port cannot be used; also an OSError.
            OSError: The Redis cannot be reached.
            ValueError: The URL of the Redis is invalid, or its password is wrong.
            RuntimeError: The server is already running.
        """
        if self._worker is not None and self._worker.is_alive:
            raise RuntimeError("this local server is already running: stop it first, or create another one")
        self._process = os.getpid()
        self._worker = None
        _started.add(self)
        try:
            self._listen()
            if self._engine is not None:
                self._engine.start()
            self._worker = Worker(
                self._settings,
                self._engine.url if self._engine is not None else self._settings.redis,
                stats=self._stats,
                faults=self.faults,
                listeners=self._listeners,
            )
            self._worker.start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the server and the engine. Safe to call twice; in a forked child it does nothing."""
        if self._process != os.getpid():
            return
        if self._worker is not None:
            self._worker.stop()
        if self._engine is not None:
            self._engine.stop()
        for listener in self._listeners:
            listener.close()
        _started.discard(self)

    def wait_until_held(self, count: int = 1, timeout: float = _CALL_SECONDS) -> None:
        """Block until this many requests are held.

        Args:
            count: The number of requests.
            timeout: The longest time to wait, in seconds.

        Raises:
            TimeoutError: They did not arrive in time.
        """
        worker, delayed = self._running()
        worker.call(lambda: delayed.until_held(count), timeout, f"{count} requests were not held")

    def release(self, count: int | None = None, *, matching: str = "") -> int:
        """Release held requests one by one, oldest first, and block until they are applied.

        Args:
            count: The largest number to release; None for all.
            matching: Which ones, as in `Fault`.

        Returns:
            The number of released requests.

        Raises:
            TimeoutError: They were not applied in 30 seconds.
            ValueError: The count is negative.
        """
        worker, delayed = self._running()
        return worker.call(
            lambda: delayed.release(count, matching), _CALL_SECONDS, "the held requests were not applied"
        )

    def flush(self) -> None:
        """Empty the databases, replicas too, and drop delayed requests. Blocks for a moment."""
        worker, _ = self._running()
        worker.call(worker.flush, _CALL_SECONDS, _NOT_EMPTIED)

    def reset(self) -> None:
        """Restore the state at the start: no data, scripts or faults, the same random numbers, counters at 0.

        With `redis`, scripts and functions stay.
        """
        worker, _ = self._running()
        worker.call(worker.reset, _CALL_SECONDS, _NOT_EMPTIED)

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

    def _running(self) -> tuple[Worker, DelayedRequests]:
        delayed = self._worker.delayed if self._worker is not None else None
        if self._worker is None or delayed is None or not self.is_running:
            raise RuntimeError("the local server is not running")
        return self._worker, delayed

    def _listen(self) -> None:
        self._listeners = [listen(self._host, self._port)]
        self._port = self._listeners[0].getsockname()[1]
        if self._control_port is not None:
            self._listeners.append(listen("127.0.0.1", self._control_port))
            self._control_port = self._listeners[1].getsockname()[1]


_started: set[LocalUpstash] = set()


def _close_inherited() -> None:
    """Close the ports in a forked child, which would keep them open after the parent has stopped."""
    for upstash in list(_started):
        for listener in upstash._listeners:  # noqa: SLF001 - of this module
            # The child has a copy of the parent's loop, which would defer an ordinary close.
            if (descriptor := listener.detach()) >= 0:
                os.close(descriptor)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited)
