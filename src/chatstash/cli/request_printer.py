"""Prints the requests of a local server, one line each, for `serve --trace`."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from rich.console import Console
from rich.text import Text

from chatstash.cli.terminal import printable
from chatstash.local import LoggedRequest

_MAX_COMMANDS = 4
_MAX_QUEUED = 10_000


@contextmanager
def request_printer(console: Console) -> Iterator[Callable[[LoggedRequest], None]]:
    """Print requests in a thread, so that a slow terminal does not slow the server.

    Yields:
        A function that queues a request, or drops it if ten thousand are queued. On leaving, at most a second is spent
        on printing the rest.
    """
    requests: queue.Queue[LoggedRequest | None] = queue.Queue(_MAX_QUEUED)
    thread = threading.Thread(target=_print_all, args=(console, requests), name="chatstash-trace", daemon=True)
    thread.start()

    def add(entry: LoggedRequest) -> None:
        with contextlib.suppress(queue.Full):
            requests.put_nowait(entry)

    try:
        yield add
    finally:
        with contextlib.suppress(queue.Full):
            requests.put_nowait(None)
            thread.join(1)


def _print_all(console: Console, requests: queue.Queue[LoggedRequest | None]) -> None:
    try:
        while (entry := requests.get()) is not None:
            print_request(console, entry)
    except (OSError, SystemExit):
        # The reader is gone, as after `| head`; rich raises SystemExit on a broken pipe.
        return


def print_request(console: Console, entry: LoggedRequest) -> None:
    """Print one request: time, status, commands, size, cost and error."""
    line = Text()
    line.append(f"{datetime.fromtimestamp(entry.time / 1000):%H:%M:%S.%f}"[:-3] + " ", "dim")
    line.append(f"{entry.status} ", "red" if entry.status >= 400 or entry.fault else "green")
    line.append(f"{entry.kind:<11} {_commands(entry)}")
    line.append(f"  {_size(entry.bytes_received)} in, {_size(entry.bytes_sent)} out, ", "dim")
    line.append(f"{entry.billed_commands} billed, {entry.seconds * 1000:.1f} ms", "dim")
    if entry.replica:
        line.append("  replica", "yellow")
    if entry.fault:
        line.append(f"  {entry.fault}", "bold red")
    if entry.error:
        line.append(f"\n{'':>13}{printable(entry.error)}", "red")
    console.print(line, soft_wrap=True)


def _commands(entry: LoggedRequest) -> str:
    shown = [printable(text) for text in entry.commands[:_MAX_COMMANDS]]
    more = entry.command_count - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")


def _size(count: int) -> str:
    return f"{count} B" if count < 10_000 else f"{count / 1024:.0f} KB"
