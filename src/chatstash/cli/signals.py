"""Signals that ask the process to stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager


class StopRequest:
    """Set once the process is asked to stop.

    Not a `threading.Event`: its lock is not re-entrant, so a signal during `wait` would wait for ever.

    Attributes:
        signal_number: The last signal that asked.
        count: The number of signals that asked.
    """

    def __init__(self) -> None:
        self.signal_number = 0
        self.count = 0
        self._exits_at_once = False

    @property
    def exit_code(self) -> int:
        """The exit code of a process ended by the signal."""
        return 128 + self.signal_number

    def is_set(self) -> bool:
        """Tell whether a signal asked."""
        return self.count > 0

    def wait(self, seconds: float) -> bool:
        """Return whether a signal asked, after so many seconds if none did before."""
        if not self.is_set():
            time.sleep(seconds)
        return self.is_set()

    def receive(self, number: int, _frame: object) -> None:
        """Handle a signal."""
        self.signal_number = number
        self.count += 1
        if self._exits_at_once:
            raise SystemExit(self.exit_code)

    @contextmanager
    def exit_at_once(self) -> Iterator[None]:
        """Within the block, raise SystemExit on a signal: nothing checks the event there."""
        self._exits_at_once = True
        try:
            yield
        finally:
            self._exits_at_once = False


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Turn Ctrl-C, SIGTERM and SIGHUP into an event for the block, so that it can shut down in order."""
    stop = StopRequest()
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    previous = {number: signal.signal(number, stop.receive) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
