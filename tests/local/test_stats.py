"""What happened: counters, the log, and what Upstash would bill."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator

import pytest

from chatstash.local import LocalUpstash
from tests.cli.support import CHATSTASH, ENVIRONMENT
from tests.local.client import Client

TWICE = "redis.call('INCR', KEYS[1]) return redis.call('INCR', KEYS[1])"


@pytest.fixture
def client(upstash: LocalUpstash) -> Client:
    return Client(upstash)


def billed(client: Client, path: str, body: object) -> tuple[int, int, int]:
    """Return commands, commands of scripts, and billed commands of one request."""
    before = client.upstash.stats
    client.ask(path, body)
    spent = client.upstash.stats - before
    assert spent.requests == 1
    return spent.commands, spent.script_commands, spent.billed_commands


def test_each_command_is_billed_and_those_of_scripts_too(client: Client) -> None:
    assert billed(client, "/", ["SET", "k", "1"]) == (1, 0, 1)
    assert billed(client, "/pipeline", [["SET", "k", "1"], ["GET", "k"], ["NOSUCH"]]) == (3, 0, 2)
    assert billed(client, "/multi-exec", [["SET", "k", "1"], ["GET", "k"]]) == (2, 0, 2)
    assert billed(client, "/", ["EVAL", TWICE, 1, "k"]) == (1, 2, 3)
    assert billed(client, "/", ["EVAL", "return 1", 0]) == (1, 0, 1)
    assert billed(client, "/multi-exec", [["EVAL", TWICE, 1, "k"], ["INCR", "k"]]) == (2, 2, 4)
    assert billed(client, "/pipeline", [["INCR", "k"], ["EVAL", TWICE, 1, "k"], ["EVAL", TWICE, 1, "k"]]) == (3, 4, 7)
    assert billed(client, "/", ["EVAL", "#!lua flags=allow-key-locking\n" + TWICE, 1, "k"]) == (1, 2, 3)
    assert billed(client, "/", ["EVAL", "return redis.call('INFO')", 0]) == (1, 1, 2)
    assert billed(client, "/", ["GET"]) == (1, 0, 1)
    reads = "return redis.call('GET', KEYS[1])"
    assert billed(client, "/pipeline", [["GET"], ["EVAL", reads, 1, "k"], ["GET", "k"]]) == (3, 1, 4)
    assert billed(client, "/multi-exec", [["SET", "k"]]) == (1, 0, 0)


def test_a_script_that_fails_halfway_is_billed_for_what_it_ran(client: Client) -> None:
    script = "redis.call('SET', KEYS[1], 'x') return redis.call('INCR', KEYS[1])"
    assert billed(client, "/", ["EVAL", script, 1, "k"]) == (1, 2, 3)


@pytest.fixture(scope="module")
def with_regions() -> Iterator[LocalUpstash]:
    with LocalUpstash(read_regions=2) as upstash:
        yield upstash


def test_a_write_is_billed_once_more_for_each_read_region(with_regions: LocalUpstash) -> None:
    client = Client(with_regions)
    assert billed(client, "/", ["GET", "k"]) == (1, 0, 1)
    assert billed(client, "/", ["SET", "k", "1"]) == (1, 0, 3)
    assert billed(client, "/", ["EVAL", TWICE, 1, "k"]) == (1, 2, 7)
    assert billed(client, "/multi-exec", [["LPUSH", "l", "x"], ["EXPIRE", "l", 60], ["LLEN", "l"]]) == (3, 0, 7)
    assert with_regions.stats.writes == 5


def test_bytes_are_those_of_the_bodies(client: Client) -> None:
    before = client.upstash.stats
    body = b'["ECHO", "hello"]'
    answer = client.send("/", body)
    spent = client.upstash.stats - before
    assert (spent.bytes_received, spent.bytes_sent) == (len(body), len(answer.data))


def test_the_log_tells_each_request(client: Client) -> None:
    client.run("LPUSH", "message_store:s", "a secret message")
    client.ask("/multi-exec", [["LLEN", "message_store:s"], ["EXPIRE", "message_store:s", 60]])
    client.ask("/", ["NOSUCH", "x"])
    client.ask("/", b"{")
    client.send("/", ["PING"], token="wrong")
    client.run("EVAL", "return 'a secret script'", 0)
    log = client.upstash.log
    assert [entry.number for entry in log] == [1, 2, 3, 4, 5, 6]
    assert [entry.kind for entry in log] == ["command", "transaction", "command", "refused", "refused", "command"]
    assert [entry.status for entry in log] == [200, 200, 400, 400, 401, 200]
    assert [entry.billed_commands for entry in log] == [1, 2, 0, 0, 0, 1]
    assert log[0].commands == ("LPUSH message_store:s",)
    assert log[1].commands == ("LLEN message_store:s", "EXPIRE message_store:s")
    assert "not available" in log[2].error
    assert all(0 <= entry.seconds < 60 for entry in log)
    assert "secret" not in str(log)
    assert client.upstash.token not in str(log)
    assert json.loads(json.dumps(log[1].to_json()))["command_count"] == 2


def test_the_log_keeps_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatstash.local.stats.counters.LOG_LENGTH", 3)
    with LocalUpstash() as upstash:
        for number in range(5):
            Client(upstash).run("ECHO", number)
        assert [entry.commands for entry in upstash.log] == [("ECHO 2",), ("ECHO 3",), ("ECHO 4",)]


def test_the_log_names_the_first_commands_of_a_long_batch(client: Client) -> None:
    client.ask("/pipeline", [["PING"]] * 500)
    entry = client.upstash.log[-1]
    assert (entry.command_count, len(entry.commands)) == (500, 100)


def test_the_log_has_the_text_of_errors(client: Client) -> None:
    client.ask("/", ["NOSUCH"])
    client.ask("/pipeline", [["SET", "k", "v"], ["INCR", "k"]])
    client.send("/", b"", method="DELETE")
    client.upstash.faults.next("unavailable")
    client.send("/", ["PING"])
    errors = [entry.error for entry in client.upstash.log]
    assert errors[0].startswith("ERR Command is not available: 'NOSUCH'")
    assert "not an integer" in errors[1]
    assert errors[2] == "ERR only HEAD, GET, POST and PUT are allowed"
    assert errors[3].startswith("text/html")
    assert client.upstash.stats.requests == 4


def test_a_script_is_billed_for_what_it_runs_and_not_for_what_others_run(client: Client) -> None:
    stop = threading.Event()

    def others() -> None:
        own = Client(client.upstash)
        while not stop.is_set():
            own.run("GET", "k")

    threads = [threading.Thread(target=others) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            client.run("EVAL", "return redis.call('SET', KEYS[1], ARGV[1])", 1, "n", "x" * 100_000)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert client.upstash.stats.script_commands == 30


def test_each_request_may_be_watched(client: Client) -> None:
    seen: list[str] = []
    client.upstash.on_request(lambda entry: seen.extend(entry.commands))
    try:
        client.run("ECHO", "a")
        client.run("ECHO", "a")
    finally:
        client.upstash.on_request(None)
    client.run("ECHO", "b")
    assert seen in (["ECHO a"], ["ECHO a"] * 2)


def test_trace_prints_what_happens_and_no_content() -> None:
    with subprocess.Popen(
        [*CHATSTASH, "serve", "--port", "0", "--json", "--trace", "--token", "topsecret", "--fault", "delay:times=1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["UPSTASH_REDIS_REST_URL"]
        pool = Client(LocalUpstash(token="topsecret")).pool
        for path in ("/lpush/message_store:a%1b%5bb/content", "/nosuch", "/pipeline"):
            pool.request("POST", f"{url}{path}?_token=topsecret", body=b'[["PING"]]' if path == "/pipeline" else b"")
        process.terminate()
        trace = process.communicate()[1]
    lines = trace.splitlines()
    assert "LPUSH message_store:a\ufffd[b" in lines[0]
    assert "delay" in lines[0]
    assert "not available" in trace
    assert "PING" in trace
    assert "\x1b[b" not in trace
    assert "content" not in trace
    assert "topsecret" not in trace


def test_a_callback_that_fails_breaks_nothing(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("in the callback")

    client.upstash.on_request(fail)
    try:
        assert client.run("ECHO", "a") == "a"
        assert client.run("ECHO", "a") == "a"
    finally:
        client.upstash.on_request(None)
    assert "in the callback" in caplog.text
