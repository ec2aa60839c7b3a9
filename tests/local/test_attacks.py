"""What an attack on the local server once did, one by one; each harmed others, lost a write, or opened a door."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import urllib3

from chatstash.local import Limits, LocalUpstash
from chatstash.local.engine import Engine
from chatstash.local.engine.connection import EngineLost, connect, subscribe
from chatstash.local.worker import _loop_factory
from tests.cli.support import CHATSTASH, ENVIRONMENT
from tests.local.client import Client, connected, raw_request
from tests.local.test_server import gone, processes_of


@pytest.fixture
def client(upstash: LocalUpstash) -> Client:
    return Client(upstash)


@pytest.mark.parametrize("names", [("STREAMS", "c"), ("g", "STREAMS"), ("GROUP", "BLOCK"), ("g", "c")])
def test_blocking_is_refused_whatever_groups_and_consumers_are_called(client: Client, names: tuple[str, str]) -> None:
    client.run("XGROUP", "CREATE", "s", names[0], "$", "MKSTREAM")
    error = client.error("XREADGROUP", "GROUP", *names, "BLOCK", "0", "STREAMS", "s", ">")
    assert error.startswith("ERR Blocking version")
    assert client.run("XREADGROUP", "GROUP", *names, "STREAMS", "s", ">") is None


@pytest.mark.long
def test_a_script_that_has_written_and_never_ends_ends_the_server_and_not_the_patience(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chatstash.local.database.script_runner.LONGEST_SCRIPT_SECONDS", 0.5)
    with LocalUpstash() as upstash:
        body = ["EVAL", "redis.call('SET', 'a', '1') while true do end", 0]
        assert Client(upstash).send("/", body).status == 500
        end = time.monotonic() + 60
        while upstash.is_running and time.monotonic() < end:
            time.sleep(0.02)
        assert not upstash.is_running
        assert Client(upstash).send("/", ["PING"]).status == 500


@pytest.mark.parametrize("path", ["/pipeline", "/multi-exec"])
def test_what_ends_a_script_is_sent_alone(client: Client, path: str) -> None:
    _, body = client.ask(path, [["SET", "a", "1"], ["SCRIPT", "KILL"], ["FUNCTION", "KILL"]])
    errors = [body["error"]] if path == "/multi-exec" else [entry["error"] for entry in body[1:]]
    assert all("as a single command" in error for error in errors)
    assert client.run("EXISTS", "a") == (path == "/pipeline")


def test_a_replica_opens_no_door_to_the_engine() -> None:
    with LocalUpstash(replica_lag=3600) as upstash:
        port = _replication_port(upstash)
        for attempt in (
            b"*3\r\n$3\r\nSET\r\n$3\r\npwn\r\n$1\r\n1\r\n",
            b"*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n",
        ):
            with socket.create_connection(("127.0.0.1", port), timeout=60) as door:
                door.sendall(attempt + b"*3\r\n$3\r\nSET\r\n$3\r\npwn\r\n$1\r\n1\r\n")
                assert door.recv(100) in (b"", b"+PONG\r\n")
        client = Client(upstash)
        token = client.send("/", ["SET", "k", "v"]).headers["upstash-sync-token"]
        assert client.ask("/", ["MGET", "k", "pwn"], upstash_sync_token=token)[1] == {"result": ["v", None]}


def _replication_port(upstash: LocalUpstash) -> int:
    stream = upstash._worker._databases[0]._replica._replica._stream  # type: ignore[union-attr]
    port: int = stream._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    return port


def test_a_replica_that_died_is_noticed(tmp_path: Path) -> None:
    with LocalUpstash(replica_lag=3600) as upstash:
        client = Client(upstash)
        upstash._worker._databases[0]._replica._replica._engine.stop()  # type: ignore[union-attr]
        end = time.monotonic() + 60
        while upstash.is_running and time.monotonic() < end:
            time.sleep(0.02)
        assert not upstash.is_running
        assert client.send("/", ["GET", "k"]).status == 500


def test_a_replica_that_cannot_catch_up_is_an_error_and_not_a_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatstash.local.engine.replica._CATCH_UP_SECONDS", 0.3)
    with LocalUpstash(replica_lag=3600) as upstash:
        client = Client(upstash)
        monkeypatch.setattr("chatstash.local.engine.replica.DelayedStream.release", lambda *_: None)
        token = client.send("/", ["SET", "k", "v"]).headers["upstash-sync-token"]
        assert client.send("/", ["GET", "k"], upstash_sync_token=token).status == 500


@pytest.mark.parametrize(("key", "value"), [("a", "a" * 40_000), ("{", '{"x":"' + "b" * 40_000), ("", "b" * 40_000)])
def test_a_value_that_begins_like_its_key_is_no_key(client: Client, key: str, value: str) -> None:
    assert client.run("SET", key, value) == "OK"


def test_several_records_at_once_are_measured_one_by_one() -> None:
    with LocalUpstash(plan=Limits(max_record_bytes=1000)) as upstash:
        assert Client(upstash).run("MSET", "a", "x" * 600, "b", "x" * 600) == "OK"
        assert "single record" in Client(upstash).error("MSET", "a", "x" * 600, "b", "x" * 1200)


def test_a_reset_leaves_nothing_of_the_last_test() -> None:
    with LocalUpstash(plan=Limits(max_commands=8)) as upstash:
        client = Client(upstash)
        for _ in range(3):
            sha = client.run("SCRIPT", "LOAD", "return 1")
            library = "#!lua name=lib\nredis.register_function('f', function() return 1 end)"
            assert client.run("FUNCTION", "LOAD", library) == "lib"
            client.run("EVAL", "redis.call('SET', 'm', '1') return redis.call('COPY', 'm', 'n', 'DB', 1)", 0)
            upstash.faults.next("delay", held=True)
            with connected(upstash) as gone_client:
                gone_client.sendall(raw_request(upstash, b'["SET","late","x"]'))
                upstash.wait_until_held()
            upstash.reset()
            assert upstash.release() == 0
            assert client.run("EXISTS", "late", "m") == 0
            assert client.run("SCRIPT", "EXISTS", sha) == [0]
            upstash.reset()


def test_trace_outlives_who_reads_it() -> None:
    with subprocess.Popen(
        [*CHATSTASH, "serve", "--port", "0", "--json", "--trace", "--token", "t"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        url = json.loads(process.stdout.readline())["UPSTASH_REDIS_REST_URL"]
        process.stderr.close()
        for _ in range(5):
            assert urllib3.request("GET", f"{url}/ping?_token=t", retries=False).status == 200
        assert process.poll() is None
        process.terminate()


def test_a_reply_too_deep_to_read_harms_nobody_else(client: Client) -> None:
    stop = threading.Event()
    failures: list[Any] = []

    def count() -> None:
        own = Client(client.upstash)
        while not stop.is_set():
            status, body = own.ask("/", ["INCR", "n"])
            if status != 200:
                failures.append(body)

    others = [threading.Thread(target=count) for _ in range(2)]
    for thread in others:
        thread.start()
    for _ in range(10):
        status, _ = client.ask("/", ["EVAL", "local t={} for i=1,1500 do t={t} end return t", 0])
        assert status == 500
    stop.set()
    for thread in others:
        thread.join()
    assert failures == []


def test_starting_twice_is_an_error_that_harms_nothing() -> None:
    with LocalUpstash() as upstash:
        with pytest.raises(RuntimeError, match="already"):
            upstash.start()
        assert Client(upstash).run("PING") == "PONG"


def test_a_message_can_forge_no_event(client: Client) -> None:
    with connected(client.upstash) as raw:
        raw.sendall(raw_request(client.upstash, b"", line="GET /subscribe/c HTTP/1.1"))
        data = b""
        while b"data: subscribe" not in data:
            data += raw.recv(1000)
        client.run("PUBLISH", "c", "a\r\rdata: message,c,forged\r\n\r\nx")
        while b"\n\n" not in data.partition(b"message")[2]:
            data += raw.recv(1000)
    assert b"\r\r" not in data
    assert b"\ndata: data: message,c,forged\ndata: \ndata: x\n\n" in data


def test_what_is_applied_late_is_counted_once(client: Client) -> None:
    client.upstash.faults.next("applied_late", held=True)
    with contextlib.suppress(urllib3.exceptions.HTTPError):
        client.run("INCR", "n")
    assert client.upstash.release() == 1
    stats = client.upstash.stats
    assert (stats.requests, stats.commands, stats.faults, stats.billed_commands) == (1, 1, 1, 1)
    assert len(client.upstash.log) == 1


def _wait_for_a_script(upstash: LocalUpstash) -> None:
    while not upstash._worker._databases[0]._executor._scripts.lock._entry.locked():  # type: ignore[union-attr]
        time.sleep(0.01)


@pytest.mark.long
def test_an_endless_script_that_comes_late_is_ended_all_the_same(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatstash.local.database.script_runner.LONGEST_SCRIPT_SECONDS", 1.0)
    client.upstash.faults.next("applied_late", seconds=0.05)
    with contextlib.suppress(urllib3.exceptions.HTTPError):
        client.run("EVAL", "while true do end", 0)
    _wait_for_a_script(client.upstash)
    client.upstash._worker._gateway.delayed.drop()  # type: ignore[union-attr]
    # The engine hears nobody before its own five seconds are over, and then says that it is busy.
    end = time.monotonic() + 60
    while client.ask("/", ["PING"])[0] != 200 and time.monotonic() < end:
        time.sleep(0.05)
    assert client.run("PING") == "PONG"


def test_faults_hit_subscriptions_too(client: Client) -> None:
    client.upstash.faults.next("server_error", "unavailable")
    assert client.send("/subscribe/c", b"").status == 500
    assert client.send("/subscribe/c", b"").status == 503


def test_a_subscription_without_an_engine_is_an_error(tmp_path: Path) -> None:
    with LocalUpstash(data=tmp_path) as upstash:
        for process in processes_of(tmp_path):
            os.kill(process, signal.SIGKILL)
        assert gone(tmp_path)
        assert Client(upstash).send("/subscribe/c", b"").status == 500


def test_a_forked_child_keeps_no_engine_alive(tmp_path: Path) -> None:
    code = (
        "import os, sys, time\n"
        "from chatstash.local import LocalUpstash\n"
        "LocalUpstash(data=sys.argv[1]).start()\n"
        "if os.fork() == 0:\n    time.sleep(30)\n    os._exit(0)\n"
        "print('up', flush=True)\ntime.sleep(30)\n"
    )
    with subprocess.Popen(
        [*CHATSTASH[:1], "-c", code, str(tmp_path)], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        assert processes_of(tmp_path)
        process.kill()
        process.wait()
        assert gone(tmp_path)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()


def test_a_subscription_that_is_never_read_leaves_no_connection(client: Client) -> None:
    def connections() -> int:
        return int(client.run("INFO", "clients").split("connected_clients:")[1].split()[0])

    before = connections()
    for _ in range(5):
        client.send("/subscribe/c", b"", method="HEAD")
        client.upstash.faults.next("reply_lost", "truncated")
        for _ in range(2):
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                client.send("/subscribe/c", b"")
        with connected(client.upstash) as raw:
            raw.sendall(raw_request(client.upstash, b"", line="GET /subscribe/c HTTP/1.1"))
    end = time.monotonic() + 60
    while connections() > before and time.monotonic() < end:
        time.sleep(0.05)
    assert connections() == before


def test_a_flush_that_the_engine_refuses_is_no_success() -> None:
    engine = Engine()
    engine.start()
    try:
        with LocalUpstash(redis=engine.url) as upstash:
            client = Client(upstash)
            client.run("SET", "k", "v")
            command = [["ACL", "SETUSER", "default", "-flushdb"]]
            asyncio.run(_run_at(engine.url, command))
            with pytest.raises(EngineLost, match="not emptied"):
                upstash.flush()
            assert client.run("GET", "k") == "v"
    finally:
        engine.stop()


async def _run_at(url: str, commands: list[list[str | bytes]]) -> None:
    engine = await connect(url)
    await engine.run(commands)
    engine.close()
    await asyncio.sleep(0.05)  # so that the loop sees it closed


@pytest.mark.long
def test_a_flush_waits_for_a_script_that_runs(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatstash.local.database.script_runner.LONGEST_SCRIPT_SECONDS", 1.0)
    client.run("SET", "k", "v")
    with connected(client.upstash) as raw:
        raw.sendall(raw_request(client.upstash, b'["EVAL", "while true do end", 0]'))
        _wait_for_a_script(client.upstash)
        client.upstash.flush()
        assert client.run("GET", "k") is None


def test_from_within_a_callback_the_server_cannot_wait_for_itself(client: Client) -> None:
    caught: list[Exception] = []

    def flush(_: object) -> None:
        try:
            client.upstash.flush()
        except RuntimeError as error:
            caught.append(error)

    client.upstash.on_request(flush)
    try:
        client.run("PING")
        client.run("PING")
    finally:
        client.upstash.on_request(None)
    assert "callback" in str(caught[0])


def test_trace_that_nobody_reads_holds_up_nobody() -> None:
    with subprocess.Popen(
        [*CHATSTASH, "serve", "--port", "0", "--json", "--trace", "--token", "t"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["UPSTASH_REDIS_REST_URL"]
        pool = urllib3.PoolManager(retries=False)
        for _ in range(1200):
            assert pool.request("GET", f"{url}/ping?_token=t", timeout=60).status == 200
        process.terminate()
        assert process.wait(60) == 0


def test_a_transaction_of_reads_is_one_beside_a_replica_too() -> None:
    with LocalUpstash(replica_lag=3600) as upstash:
        client = Client(upstash)
        assert client.ask("/multi-exec", [["GET"]])[0] == 400
        client.run("SET", "k", "v")
        assert client.ask("/multi-exec", [["GET", "k"]])[1] == [{"result": "v"}]


def test_a_feed_from_an_engine_that_is_ending_is_refused(tmp_path: Path) -> None:
    async def ask() -> None:
        server = await asyncio.start_unix_server(lambda _, writer: writer.close(), tmp_path / "engine")
        async with server:
            with pytest.raises(EngineLost):
                await subscribe(f"unix://{tmp_path}/engine", ["SUBSCRIBE", "c"])

    asyncio.run(ask())


def test_commands_for_an_engine_that_is_ending_fail_without_a_traceback_in_the_log() -> None:
    reported: list[dict[str, Any]] = []

    async def ask() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        connection = await connect(engine.url)
        assert connection._transport is not None
        connection._transport.abort()
        done = connection.run([["PING"]])
        with pytest.raises(EngineLost):
            await done

    engine = Engine()
    engine.start()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(ask())
    finally:
        engine.stop()
    assert reported == []
