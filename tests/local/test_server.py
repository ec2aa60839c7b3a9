"""`LocalUpstash` and its engine: start, stop, data that stays, a Redis given, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from chatstash import ConnectionFailed, ServerError, UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash
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


def gone(folder: Path | str, seconds: float = 5) -> bool:
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
    with LocalUpstash() as upstash, pytest.raises(OSError, match="in use"):
        LocalUpstash(port=int(upstash.url.rsplit(":", 1)[1])).start()


def test_a_directory_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="file"):
        LocalUpstash(data=tmp_path / "file").start()


def test_damaged_data_is_said_to_be_so(tmp_path: Path) -> None:
    with LocalUpstash(data=tmp_path):
        pass
    for part in (tmp_path / "appendonlydir").iterdir():
        part.write_bytes(b"not an append-only file")
    with pytest.raises(EngineError, match="log says"):
        LocalUpstash(data=tmp_path).start()
    assert gone(tmp_path)


def test_an_engine_that_dies_is_an_error_and_not_a_hang(tmp_path: Path) -> None:
    with LocalUpstash(data=tmp_path) as upstash:
        history = UpstashRedisChatMessageHistory("s", upstash.url, upstash.token, retries=0, timeout=5)
        history.add_user_message("x")
        assert upstash.is_running
        for process in processes_of(tmp_path):
            os.kill(process, signal.SIGKILL)
        assert gone(tmp_path)
        with pytest.raises((ServerError, ConnectionFailed)):
            _ = history.messages
        assert not upstash.is_running


def test_starting_and_stopping_leaves_nothing() -> None:
    before = (len(os.listdir("/proc/self/fd")), threading.active_count())
    for _ in range(5):
        with LocalUpstash():
            pass
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before


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
