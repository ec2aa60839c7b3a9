"""Instruments operations: counts them, calls the caller's hook, and reports to OpenTelemetry."""

from __future__ import annotations

import inspect
import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from chatstash.errors import DatabaseError
from chatstash.rest.commands import Batch, Cost
from chatstash.rest.endpoint import Endpoint
from chatstash.rest.fork import register_fork_reset
from chatstash.rest.interrupts import is_from_signal_handler
from chatstash.rest.metrics import OnOperation, Operation, StoreStats

if TYPE_CHECKING:
    from chatstash.rest.telemetry import OperationSpan

T = TypeVar("T")

_log = logging.getLogger("chatstash")


class Instrumentation:
    """Instruments the operations of one database. Safe to share between threads and event loops.

    The totals start at 0 in a child process.
    """

    def __init__(self, endpoint: Endpoint, on_operation: OnOperation | None = None) -> None:
        if on_operation is not None and (not callable(on_operation) or inspect.iscoroutinefunction(on_operation)):
            raise ValueError(
                f"on_operation must be a plain function that takes an Operation, or None, not {on_operation!r}"
            )
        self.endpoint = endpoint
        self._on_operation = on_operation
        self.reset_after_fork()
        register_fork_reset(self)

    def reset_after_fork(self) -> None:
        """Reset the totals and the lock."""
        # Re-entrant: a finaliser or a signal handler may end an operation while this thread holds the lock.
        self._lock = threading.RLock()
        self.stats = StoreStats()

    def add(self, operation: Operation) -> None:
        """Count a finished operation, and call the hook."""
        with self._lock:
            self.stats = self.stats.plus(operation)
        if self._on_operation is not None:
            with _errors_logged("on_operation"):
                self._on_operation(operation)


class OperationTracker:
    """One running operation. Used as a context manager."""

    __slots__ = (
        "_batch_size", "_began", "_bytes_received", "_bytes_sent", "_commands", "_instrumentation", "_requests",
        "_span", "key", "name", "retries",
    )  # fmt: skip

    def __init__(self, instrumentation: Instrumentation, name: str, key: str) -> None:
        self.name = name
        self.key = key
        self._instrumentation = instrumentation
        self.retries = 0
        self._requests = self._commands = self._bytes_sent = self._bytes_received = self._batch_size = 0
        self._span: OperationSpan | None = None
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def sending(self, batch: Batch) -> None:
        """Note that a request is about to be sent."""
        if not self._requests and sys.modules.get("opentelemetry.trace") is not None:
            with _errors_logged("OpenTelemetry"):
                from chatstash.rest.telemetry import telemetry  # noqa: PLC0415 - only for those who use it

                self._span = telemetry().start(self.name, self._instrumentation.endpoint)
        self._requests += 1
        self._batch_size = len(batch.commands)

    def answered(self, cost: Cost) -> None:
        """Count what a request cost that was answered."""
        self._commands += cost.commands
        self._bytes_sent += cost.bytes_sent
        self._bytes_received += cost.bytes_received

    def with_cost(self, result: T) -> T:
        """Return the operation's result; if it has a field for the cost, with that of all requests."""
        return result._replace(cost=self._cost) if hasattr(result, "cost") else result  # type: ignore[attr-defined]

    @property
    def _cost(self) -> Cost:
        return Cost(self._requests, self._commands, self._bytes_sent, self._bytes_received)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None and not self._requests:
            return  # it needed no request
        if isinstance(error, DatabaseError):
            error.cost = self._cost
        operation = Operation(self.name, self.key, *self._cost, self.retries, time.monotonic() - self._began, error)
        if self._span is not None:
            with _errors_logged("OpenTelemetry"):
                self._span.telemetry.end(self._span, operation, self._batch_size if self._requests == 1 else 0)
        self._instrumentation.add(operation)


@contextmanager
def _errors_logged(what: str) -> Iterator[None]:
    """Log an error instead of raising it: it must not change the outcome of the operation."""
    try:
        yield
    except Exception as error:
        if is_from_signal_handler(error):
            raise
        # The context is the operation's error, whose text may quote messages.
        error.__suppress_context__ = True
        _log.error("%s failed. The operation itself is not affected.", what, exc_info=error)
