"""The directories of an engine: one that keeps the data, locked while in use, and a temporary one for its socket."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOCK_SECONDS = 1.0
_POLL_SECONDS = 0.01
_LEAST_ROOM = 1 << 16
_LONGEST_PATH = 85


class EngineError(Exception):
    """The embedded Valkey could not be started; the message says why and what to do."""


def short_temporary_directory() -> Path:
    """Create a temporary directory short enough for the path of a socket, which is limited to about 100 bytes."""
    folder = tempfile.mkdtemp(prefix="chatstash-")
    if len(os.fsencode(folder)) > _LONGEST_PATH:
        Path(folder).rmdir()
        folder = tempfile.mkdtemp(prefix="chatstash-", dir="/tmp")
    return Path(folder)


def writable_directory(folder: Path) -> Path:
    """Create a data directory if it is missing, and check that data can be written to it."""
    try:
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        # A full or read-only file system shows here, before anyone relies on the data.
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0" * _LEAST_ROOM)
    except (OSError, ValueError, RuntimeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise EngineError(
            f"cannot store data in the directory {folder}: {reason}. "
            "Choose a writable directory, or none to keep no data"
        ) from None
    return folder


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Lock a data directory, and yield the descriptor of the lock.

    A process that inherits the descriptor holds the lock until it ends, so no lock is ever stale.

    Raises:
        EngineError: Another server uses the directory.
    """
    import fcntl  # noqa: PLC0415 - not on Windows, where there is no embedded engine

    end = time.monotonic() + _LOCK_SECONDS
    with (folder / "chatstash.lock").open("wb") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise EngineError(
                        f"another local server uses the directory {folder}, and two would overwrite each other's data. "
                        "Stop it first, or choose another directory"
                    ) from None
            # A server that has just stopped may hold it for a moment longer.
            time.sleep(_POLL_SECONDS)
        yield file.fileno()
