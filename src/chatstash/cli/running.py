"""What commands share that work through the conversations of a database: usage errors, warnings, Ctrl-C, errors."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy

from chatstash.cli.terminal import fail, print_error
from chatstash.errors import (
    BadCredentials,
    ChatstashError,
    ChatstashWarning,
    DatabaseError,
    QuotaExceeded,
    ReadOnlyToken,
)
from chatstash.rest.endpoint import NoDatabaseConfigured

STOP_THE_RUN = (BadCredentials, QuotaExceeded, ReadOnlyToken)
"""Errors that all conversations would have."""


@contextmanager
def keyboard_interrupts() -> Iterator[None]:
    """Make Ctrl-C raise KeyboardInterrupt in the block, instead of ending the process without a report."""
    ends_process = signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    if ends_process:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        if ends_process:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def usage_errors() -> Iterator[None]:
    """Print a ValueError of the block as one line, and exit with 2."""
    try:
        yield
    except NoDatabaseConfigured as error:
        missing = " and ".join(error.missing)
        fail(f"No database configured. Set {missing}; the Upstash console shows what to set.", code=2)
    except ValueError as error:
        fail(str(error), code=2)


@contextmanager
def warnings_on_stderr() -> Iterator[None]:
    """Print each warning once, as one line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ChatstashWarning)
        yield
    for text in dict.fromkeys(str(warning.message) for warning in caught):
        print_error(text, "Warning", "bold red")


def without_server_text(error: ChatstashError) -> str:
    """Return an error's message without the server's text, which may quote a message."""
    if isinstance(error, DatabaseError) and error.server_text is not None:
        error = copy(error)
        error.server_text = None
    return str(error)
