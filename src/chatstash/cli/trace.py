"""Requests as `serve --trace` shows them, a line each."""

from __future__ import annotations

import contextlib
import queue
import threading
from datetime import datetime

from rich.console import Console
from rich.text import Text

from chatstash.local import LoggedRequest

_MOST_SHOWN = 4
_MOST_WAITING = 10_000


class Trace:
    """Prints requests in a thread of its own, so that whoever does not read them holds up no server.

    Args:
        console: Where to print.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._waiting: queue.Queue[LoggedRequest | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._print, name="chatstash-trace", daemon=True)
        self._thread.start()

    def show(self, entry: LoggedRequest) -> None:
        """Print a request in its turn; where ten thousand wait already, it is left out."""
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(entry)

    def close(self) -> None:
        """Print what waits, as far as a second allows."""
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(1)

    def _print(self) -> None:
        try:
            while (entry := self._waiting.get()) is not None:
                print_request(self._console, entry)
        except (OSError, SystemExit):
            # Nobody takes what is printed, as after `| head`; rich would end the process.
            return


def print_request(console: Console, entry: LoggedRequest) -> None:
    """Print one request: when, what, what it came to, what it cost."""
    style = "red" if entry.status >= 400 or entry.fault else "green"
    line = Text()
    line.append(f"{datetime.fromtimestamp(entry.time / 1000):%H:%M:%S.%f}"[:-3] + " ", "dim")
    line.append(f"{entry.status} ", style)
    line.append(f"{entry.kind:<11} ")
    line.append(_commands(entry))
    line.append(f"  {_size(entry.bytes_received)} in, {_size(entry.bytes_sent)} out, ", "dim")
    line.append(f"{entry.billed_commands} billed, {entry.seconds * 1000:.1f} ms", "dim")
    if entry.replica:
        line.append("  replica", "yellow")
    if entry.fault:
        line.append(f"  {entry.fault}", "bold red")
    if entry.error:
        line.append(f"\n{'':>13}{_clean(entry.error)}", "red")
    console.print(line, soft_wrap=True)


def _commands(entry: LoggedRequest) -> str:
    shown = [_clean(text) for text in entry.commands[:_MOST_SHOWN]]
    left = entry.command_count - len(shown)
    return "; ".join(shown) + (f"; and {left} more" if left else "")


def _clean(text: str) -> str:
    # A key is the user's, and a terminal obeys control characters.
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _size(count: int) -> str:
    return f"{count} B" if count < 10_000 else f"{count / 1024:.0f} KB"
