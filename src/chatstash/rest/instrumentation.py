"""Watches operations: counts them, tells the caller's hook of each, and OpenTelemetry."""

from __future__ import annotations

import inspect
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from chatstash.rest.commands import Batch, Cost
from chatstash.rest.endpoint import Endpoint
from chatstash.rest.fork import register_fork_reset
from chatstash.rest.interruptions import is_a_handlers
from chatstash.rest.metrics import OnOperation, Operation, StoreStats
from chatstash.rest.telemetry import Tracing, telemetry

_log = logging.getLogger("chatstash")


class Instrumentation:
    """Watches the operations of one database. Safe to share between threads and event loops.

    A child process begins at 0.

    Args:
        endpoint: The database's, for OpenTelemetry.
        on_operation: Called after each operation, by the thread or task that made it; an error it raises is logged.

    Raises:
        ValueError: `on_operation` is no plain function.
    """

    def __init__(self, endpoint: Endpoint, on_operation: OnOperation | None = None) -> None:
        if on_operation is not None and (not callable(on_operation) or inspect.iscoroutinefunction(on_operation)):
            raise ValueError(f"on_operation must be a plain function of one Operation, or None, not {on_operation!r}")
        self.endpoint = endpoint
        self._on_operation = on_operation
        self.reset_after_fork()
        register_fork_reset(self)

    def reset_after_fork(self) -> None:
        """Begin at 0, with a lock that nobody holds."""
        # A finaliser or a signal handler may end an operation while this thread holds the lock.
        self._lock = threading.RLock()
        self._stats = StoreStats()

    def track(self, name: str, key: str) -> OperationTracker:
        """Return the watch of an operation, for `with`."""
        return OperationTracker(self, name, key)

    def stats(self) -> StoreStats:
        """Return what all operations came to so far."""
        return self._stats

    def finished(self, operation: Operation) -> None:
        """Count an operation, and tell the hook."""
        with self._lock:
            self._stats = self._stats.plus(operation)
        if self._on_operation is not None:
            with _undisturbed("on_operation"):
                self._on_operation(operation)


class OperationTracker:
    """One operation under way."""

    __slots__ = ("_batch_size", "_began", "_cost", "_instrumentation", "_retries", "_tracing", "key", "name")

    def __init__(self, watcher: Instrumentation, name: str, key: str) -> None:
        self.name = name
        self.key = key
        self._instrumentation = watcher
        self._cost = Cost()
        self._batch_size = 0
        self._retries = 0
        self._tracing: Tracing | None = None
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def request_sent(self, batch: Batch) -> None:
        """Note that a request is about to be sent."""
        if not self._cost.requests:
            self._begin_tracing()
        self._cost += Cost(requests=1)
        self._batch_size = len(batch.commands)

    def request_answered(self, cost: Cost) -> None:
        """Note what a request that was answered cost, but for itself."""
        self._cost += cost

    def retrying(self) -> None:
        """Note that a request follows for the one before it failed."""
        self._retries += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None and not self._cost.requests:
            return  # nothing was to be asked
        operation = self._operation(error)
        self._end_tracing(operation)
        self._instrumentation.finished(operation)

    def _operation(self, error: BaseException | None) -> Operation:
        cost = self._cost
        return Operation(
            name=self.name,
            key=self.key,
            requests=cost.requests,
            commands=cost.commands,
            bytes_sent=cost.bytes_sent,
            bytes_received=cost.bytes_received,
            retries=self._retries,
            seconds=time.monotonic() - self._began,
            error=error,
        )

    def _begin_tracing(self) -> None:
        with _undisturbed("OpenTelemetry"):
            if found := telemetry():
                self._tracing = found.begin(self.name, self._instrumentation.endpoint)

    def _end_tracing(self, operation: Operation) -> None:
        if self._tracing is not None:
            with _undisturbed("OpenTelemetry"):
                size = self._batch_size if operation.requests == 1 else 0
                self._tracing.telemetry.end(self._tracing, operation, size)


@contextmanager
def _undisturbed(what: str) -> Iterator[None]:
    """Log an error of those who only look on: the operation is done, and its outcome stands."""
    try:
        yield
    except Exception as error:
        if is_a_handlers(error):
            raise
        # Its context is the operation's error, whose text may quote messages.
        error.__suppress_context__ = True
        _log.error("%s failed. The operation it was told of is as it was.", what, exc_info=error)
