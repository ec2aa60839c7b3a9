"""A replica that lags: reads without a fresh sync token are stale, reads with one are not."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterator

import pytest

from chatstash import UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash
from chatstash.local.database import script_runner
from tests.local.client import Client

LAG = 3600.0


@pytest.fixture(scope="module")
def server() -> Iterator[LocalUpstash]:
    with LocalUpstash(replica_lag=LAG) as upstash:
        yield upstash


@pytest.fixture
def lagging(server: LocalUpstash) -> LocalUpstash:
    server.reset()
    return server


@pytest.fixture
def client(lagging: LocalUpstash) -> Client:
    return Client(lagging)


def token_of(client: Client, *words: str) -> str:
    return str(client.send("/", list(words)).headers["upstash-sync-token"])


def test_a_read_without_a_token_is_stale(client: Client) -> None:
    assert client.run("SET", "k", "v") == "OK"
    assert client.run("GET", "k") is None
    assert client.ask("/pipeline", [["GET", "k"], ["EXISTS", "k"]])[1] == [{"result": None}, {"result": 0}]
    assert client.upstash.log[-1].replica


def test_a_read_with_the_token_of_a_write_sees_it(client: Client) -> None:
    token = token_of(client, "SET", "k", "v")
    assert client.ask("/", ["GET", "k"], upstash_sync_token=token) == (200, {"result": "v"})
    # The replica has caught up, for whoever asks.
    assert client.run("GET", "k") == "v"


def test_a_token_shows_what_was_before_it_and_nothing_later(client: Client) -> None:
    first = token_of(client, "SET", "k", "1")
    token_of(client, "SET", "k", "2")
    assert client.ask("/", ["GET", "k"], upstash_sync_token=first) == (200, {"result": "1"})


def test_reads_never_go_back(client: Client) -> None:
    for number in range(20):
        token = token_of(client, "SET", "k", str(number))
        if number % 3 == 0:
            reply = client.send("/", ["GET", "k"], upstash_sync_token=token)
            assert reply.json() == {"result": str(number)}
            # The read's own token is as good as the write's.
            token = reply.headers["upstash-sync-token"]
            assert client.ask("/", ["GET", "k"], upstash_sync_token=token)[1] == {"result": str(number)}


def test_a_refused_request_keeps_the_token_it_brought(client: Client) -> None:
    token = token_of(client, "SET", "k", "v")
    refused = client.send("/", ["NOSUCH"], upstash_sync_token=token).headers["upstash-sync-token"]
    assert client.ask("/", ["GET", "k"], upstash_sync_token=refused)[1] == {"result": "v"}


def test_tokens_that_are_none_of_ours_are_passed_over(client: Client) -> None:
    token = token_of(client, "SET", "k", "v")
    server_id = base64.b64decode(token).split(b":")[0]
    far_ahead = base64.b64encode(server_id + b":99999999999").decode()
    for other in ("", "x", far_ahead, base64.b64encode(b"other:1").decode(), base64.b64encode(server_id).decode()):
        assert client.ask("/", ["GET", "k"], upstash_sync_token=other) == (200, {"result": None})


def test_writes_transactions_and_scripts_see_everything(client: Client) -> None:
    client.run("SET", "k", "1")
    assert client.run("INCR", "k") == 2
    assert client.ask("/multi-exec", [["GET", "k"], ["INCR", "k"]])[1] == [{"result": "2"}, {"result": 3}]
    assert client.run("EVAL", "return redis.call('GET', KEYS[1])", 1, "k") == "3"
    token = token_of(client, "EVAL", "return redis.call('INCR', KEYS[1])", "1", "k")
    assert client.ask("/", ["GET", "k"], upstash_sync_token=token)[1] == {"result": "4"}


def test_a_flush_reaches_the_replica(client: Client) -> None:
    token = token_of(client, "SET", "k", "v")
    assert client.ask("/", ["GET", "k"], upstash_sync_token=token)[1] == {"result": "v"}
    client.upstash.flush()
    assert client.run("GET", "k") is None


def test_large_writes_are_held_back_and_caught_up_with(client: Client) -> None:
    for number in range(30):
        token = token_of(client, "SET", f"k{number}", "x" * 500_000)
    assert client.run("STRLEN", "k29") == 0
    assert client.ask("/", ["STRLEN", "k29"], upstash_sync_token=token)[1] == {"result": 500_000}


def test_a_history_reads_its_own_writes_and_another_one_does_not(lagging: LocalUpstash) -> None:
    writer = UpstashRedisChatMessageHistory("s", lagging.url, lagging.token)
    writer.add_user_message("hello")
    other = Client(lagging)
    assert other.run("LRANGE", "message_store:s", 0, -1) == []
    assert [message.content for message in writer.messages] == ["hello"]


def test_the_lag_is_as_long_as_it_is_said_to_be() -> None:
    with LocalUpstash(replica_lag=0.5) as upstash:
        client = Client(upstash)
        start = time.monotonic()
        client.run("SET", "k", "v")
        while client.run("GET", "k") is None:
            time.sleep(0.01)
        assert time.monotonic() - start >= 0.5


def test_what_was_there_at_the_start_is_on_the_replica_too(tmp_path: object) -> None:
    with LocalUpstash(data=str(tmp_path)) as upstash:
        Client(upstash).run("SET", "k", "v")
    with LocalUpstash(data=str(tmp_path), replica_lag=LAG) as upstash:
        assert Client(upstash).run("GET", "k") == "v"
        Client(upstash).run("SET", "k", "w")
        assert Client(upstash).run("GET", "k") == "v"


READ = "#!lua flags=no-writes,allow-key-locking\nreturn redis.call('GET', KEYS[1])"
DIGEST = hashlib.sha1(READ.encode()).hexdigest()


def test_a_script_that_only_reads_is_answered_by_the_replica(client: Client) -> None:
    token = token_of(client, "SET", "k", "v")
    assert client.run("EVAL_RO", READ, 1, "k") is None
    assert client.upstash.log[-1].replica
    assert client.run("EVAL", READ, 1, "k") == "v"
    assert not client.upstash.log[-1].replica
    assert client.ask("/", ["EVAL_RO", READ, 1, "k"], upstash_sync_token=token) == (200, {"result": "v"})
    assert client.ask("/pipeline", [["GET", "k"], ["EVALSHA_RO", DIGEST, 1, "k"]])[1] == [{"result": "v"}] * 2


def test_a_script_on_the_replica_is_billed_and_guarded(client: Client) -> None:
    before = client.upstash.stats
    client.run("EVAL_RO", READ, 1, "k")
    assert (client.upstash.stats - before).billed_commands == 2
    assert client.error("EVALSHA_RO", "0" * 40, 1, "k").startswith("NOSCRIPT")
    assert "Dynamic keys" in client.error("EVAL_RO", READ.replace("KEYS[1]", "'other'"), 1, "k")
    assert "not allowed" in client.error(
        "EVAL_RO", "#!lua flags=no-writes\nreturn redis.call('CONFIG', 'GET', 'port')", 0
    )
    assert client.error("EVAL_RO", "return redis.call('SET', KEYS[1], 'x')", 1, "k")
    assert client.run("GET", "k") is None


def test_an_endless_script_on_the_replica_is_ended(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script_runner, "LONGEST_SCRIPT_SECONDS", 0.2)
    assert "killed" in client.error("EVAL_RO", "while true do end", 0)
    assert client.run("EVAL_RO", READ, 1, "k") is None
