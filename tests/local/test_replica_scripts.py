"""A replica that lags answers scripts that only read, as it answers plain reads."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator

import pytest

from chatstash.local import LocalUpstash
from tests.local.client import Client

FLAGS = "#!lua flags=no-writes,allow-key-locking\n"
GET = FLAGS + "return redis.call('GET', KEYS[1])"
SHA = hashlib.sha1(GET.encode()).hexdigest()
LIBRARY = (
    "#!lua name=reads\n"
    "server.register_function{function_name='get', callback=function(keys) return redis.call('GET', keys[1]) end, "
    "flags={'no-writes'}}"
)
READER = "only-reads"


@pytest.fixture(scope="module")
def server() -> Iterator[LocalUpstash]:
    with LocalUpstash(replica_lag=3600.0, read_only_token=READER) as upstash:
        yield upstash


@pytest.fixture
def client(server: LocalUpstash) -> Client:
    server.reset()
    return Client(server)


def written(client: Client, *words: str) -> str:
    """Write, and return the sync token of that."""
    return str(client.send("/", list(words)).headers["upstash-sync-token"])


@pytest.mark.parametrize("token", ["", READER])
def test_without_a_sync_token_it_is_stale_and_with_one_it_is_not(client: Client, token: str) -> None:
    client = Client(client.upstash, token or None)
    sync_token = written(Client(client.upstash), "SET", "k", "v")
    assert client.run("EVAL_RO", GET, 1, "k") is None
    assert client.upstash.log[-1].replica
    assert client.run("EVALSHA_RO", SHA, 1, "k") is None
    assert client.ask("/", ["EVALSHA_RO", SHA, 1, "k"], upstash_sync_token=sync_token) == (200, {"result": "v"})
    assert client.run("EVAL_RO", GET, 1, "k") == "v"


def test_a_function_that_only_reads_is_stale(client: Client) -> None:
    client.run("FUNCTION", "LOAD", LIBRARY)
    sync_token = written(client, "SET", "k", "1")
    assert client.ask("/", ["FCALL_RO", "get", 1, "k"], upstash_sync_token=sync_token) == (200, {"result": "1"})
    written(client, "SET", "k", "2")
    assert client.run("FCALL_RO", "get", 1, "k") == "1"
    assert client.run("FCALL", "get", 1, "k") == "2"


def test_a_pipeline_of_reads_is_stale_and_others_are_not(client: Client) -> None:
    client.run("SET", "k", "v")
    script = ["EVAL_RO", GET, 1, "k"]
    assert client.ask("/pipeline", [["GET", "k"], script])[1] == [{"result": None}, {"result": None}]
    for path, commands in (("/pipeline", [["INCR", "n"], script]), ("/multi-exec", [script])):
        assert client.ask(path, commands)[1][-1] == {"result": "v"}
        assert not client.upstash.log[-1].replica
    assert client.run("EVAL", GET, 1, "k") == "v"


def test_each_engine_caches_its_own_scripts(client: Client) -> None:
    assert client.run("SCRIPT", "LOAD", GET) == SHA
    missing = "NOSCRIPT No matching script. Please use EVAL."
    assert client.error("EVALSHA_RO", SHA, 1, "k") == missing
    assert client.upstash.log[-1].replica
    assert client.ask("/multi-exec", [["EVALSHA_RO", SHA, 1, "k"]])[1] == [{"result": None}]
    client.run("EVAL_RO", GET, 1, "k")
    assert client.run("EVALSHA_RO", SHA, 1, "k") is None
    client.upstash.reset()
    assert client.error("EVALSHA_RO", SHA, 1, "k") == missing
    assert client.error("EVALSHA", SHA, 1, "k") == missing


def test_it_reaches_its_keys_only(client: Client) -> None:
    assert "Dynamic keys" in client.error("EVAL_RO", FLAGS + "return redis.call('GET', 'other')", 1, "k")
    assert "not available to the script" in client.error("EVAL_RO", FLAGS + "return redis.call('KEYS', '*')", 0)
    assert client.upstash.log[-1].replica
    assert client.run("EVAL_RO", "return redis.call('GET', 'other')", 0) is None


def test_with_the_read_only_token_it_may_only_read(client: Client) -> None:
    reader = Client(client.upstash, READER)
    assert "not available to the script" in reader.error("EVAL_RO", "return redis.call('SCAN', 0)", 0)
    assert reader.upstash.log[-1].replica
    assert client.run("EVAL_RO", "return redis.call('SCAN', 0)", 0) == ["0", []]


def test_it_writes_nothing(client: Client) -> None:
    assert client.error("EVAL_RO", "return redis.call('SET', KEYS[1], 'v')", 1, "k")
    assert client.run("EXISTS", "k") == 0


@pytest.mark.parametrize("command", ["EVAL_RO", "EVALSHA_RO"])
@pytest.mark.parametrize("on_replica", [True, False])
def test_what_scripts_run_is_billed_alike(client: Client, command: str, on_replica: bool) -> None:
    script = FLAGS + "redis.call('GET', KEYS[1]) redis.call('TTL', KEYS[1]) return redis.call('EXISTS', KEYS[1])"
    call = [command, script if command == "EVAL_RO" else hashlib.sha1(script.encode()).hexdigest(), 1, "k"]
    path, commands = ("/", call) if on_replica else ("/multi-exec", [call])
    client.ask(path, ["EVAL_RO", script, 1, "k"] if on_replica else [["EVAL_RO", script, 1, "k"]])
    assert client.ask(path, commands)[0] == 200
    assert client.upstash.log[-1].replica is on_replica
    assert client.upstash.log[-1].billed_commands == 4


def test_what_the_leader_sends_meanwhile_is_not_billed_to_a_script() -> None:
    with LocalUpstash(replica_lag=0.0) as upstash:
        client = Client(upstash)
        stop = threading.Event()

        def write() -> None:
            writer = Client(upstash)
            while not stop.is_set():
                writer.ask("/pipeline", [["INCR", "n"]] * 50)

        writing = threading.Thread(target=write)
        writing.start()
        try:
            for _ in range(100):
                # Too long to be read at once, so the engine does other things before it has all of it.
                client.run("EVAL_RO", FLAGS + "redis.call('GET', KEYS[1])", 1, "k", "x" * 500_000)
        finally:
            stop.set()
            writing.join()
        scripts = [request.billed_commands for request in upstash.log if request.commands[0].startswith("EVAL_RO")]
        assert scripts
        assert set(scripts) == {2}


@pytest.mark.parametrize("end", ["", "SCRIPT"])
def test_a_script_that_never_ends_is_ended(client: Client, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    monkeypatch.setattr("chatstash.local.database.script_runner.LONGEST_SCRIPT_SECONDS", 60.0 if end else 0.5)
    errors = []
    running = threading.Thread(target=lambda: errors.append(client.error("EVAL_RO", "while true do end", 0)))
    running.start()
    other = Client(client.upstash)
    while end and other.ask("/", [end, "KILL"])[0] != 200 and running.is_alive():
        time.sleep(0.01)
    running.join()
    assert "killed" in errors[0]
    assert client.run("EVAL_RO", GET, 1, "k") is None
    assert client.upstash.log[-1].replica


def test_a_reply_that_is_nested_too_deeply_does_not_end_the_replica(client: Client) -> None:
    deep = "local t = {} for i = 1, 60 do t = {t} end return t"
    client.ask("/", ["EVAL_RO", deep, 0])
    client.run("SET", "k", "v")
    assert client.run("GET", "k") is None
    assert client.run("EVAL_RO", GET, 1, "k") is None
    assert client.upstash.log[-1].replica
