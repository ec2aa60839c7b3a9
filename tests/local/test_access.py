"""Tokens: the standard one, the read-only one, several databases, who is let in."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest
import urllib3

from chatstash.local import LocalUpstash
from chatstash.local.engine import Engine
from tests.cli.support import CHATSTASH, ENVIRONMENT, chatstash, serving
from tests.local.client import Client


@pytest.fixture(scope="module")
def guarded() -> Iterator[LocalUpstash]:
    with LocalUpstash(token="all", read_only_token="read") as upstash:
        Client(upstash).run("MSET", "k", "v", "n", 1)
        yield upstash


@pytest.mark.parametrize(
    "command",
    [
        ["GET", "k"], ["MGET", "k", "n"], ["TTL", "k"], ["EXISTS", "k"], ["LRANGE", "l", 0, -1], ["DBSIZE"], ["PING"],
        ["ECHO", "x"], ["TIME"], ["EVAL_RO", "return redis.call('GET', KEYS[1])", 1, "k"], ["PUBSUB", "CHANNELS"],
        ["OBJECT", "ENCODING", "k"],
    ],
    ids=lambda command: command[0],
)  # fmt: skip
def test_a_read_only_token_reads(guarded: LocalUpstash, command: list[str]) -> None:
    assert Client(guarded, "read").ask("/", command)[0] == 200


@pytest.mark.parametrize(
    "command",
    [
        ["SET", "k", "x"], ["DEL", "k"], ["INCR", "n"], ["SCAN", 0], ["KEYS", "*"], ["FLUSHALL"], ["EXPIRE", "k", 1],
        ["EVAL", "return 1", 0], ["EVALSHA", "0" * 40, 0], ["SCRIPT", "LOAD", "return 1"], ["PUBLISH", "c", "m"],
        ["GETDEL", "k"], ["FUNCTION", "FLUSH"], ["SORT", "l", "STORE", "k"], ["get\n", "k"],
    ],
    ids=lambda command: command[0].strip(),
)  # fmt: skip
def test_a_read_only_token_does_nothing_else(guarded: LocalUpstash, command: list[str]) -> None:
    client = Client(guarded, "read")
    error = client.error(*command)
    assert error.startswith(("NOPERM this user has no permissions to run the", "ERR Command is not available"))
    status, body = client.ask("/pipeline", [["GET", "k"], command])
    assert (status, body[0]) == (200, {"result": "v"})
    assert "error" in body[1]
    assert client.ask("/multi-exec", [["GET", "k"], command])[0] == 400
    assert Client(guarded).run("GET", "k") == "v"


def test_a_read_only_script_cannot_write(guarded: LocalUpstash) -> None:
    assert "not available to the script" in Client(guarded, "read").error(
        "EVAL_RO", "return redis.call('SET', KEYS[1], 'x')", 1, "k"
    )


def test_a_read_only_token_may_subscribe_but_not_watch_everybody(guarded: LocalUpstash) -> None:
    assert Client(guarded, "read").ask("/monitor", b"")[0] == 400
    reply = Client(guarded, "read").pool.request(
        "POST", f"{guarded.url}/subscribe/c?_token=read", preload_content=False
    )
    assert next(reply.stream()) == b"data: subscribe,c,1\n\n"
    reply.close()


@pytest.mark.parametrize("token", ["", "al", "all ", "alll", "ALL", "read2"])
def test_other_tokens_open_nothing(guarded: LocalUpstash, token: str) -> None:
    reply = Client(guarded).send("/", ["GET", "k"], token=f"x{token}")
    assert (reply.status, reply.json()) == (401, {"error": "WRONGPASS invalid or missing auth token"})


def test_each_database_has_its_token() -> None:
    engine = Engine()
    engine.start()
    try:
        with LocalUpstash(token="one", databases={"two": engine.url}) as upstash:
            Client(upstash, "one").run("SET", "k", "first")
            Client(upstash, "two").run("SET", "k", "second")
            assert Client(upstash, "one").run("GET", "k") == "first"
            assert Client(upstash, "two").run("GET", "k") == "second"
            upstash.flush()
            assert Client(upstash, "two").run("DBSIZE") == 0
    finally:
        engine.stop()


@pytest.mark.parametrize(
    "options",
    [
        {"token": "t", "read_only_token": "t"},
        {"token": "t", "databases": {"t": "redis://127.0.0.1:1"}},
        {"read_only_token": "t", "databases": {"t": "redis://127.0.0.1:1"}},
        {"read_only_token": "a b"},
        {"databases": {"": "redis://127.0.0.1:1"}},
        {"plan": "gold"},
        {"read_regions": -1},
        {"fsync": "never"},
        {"fsync": "always"},
        {"replica_lag": -1.0},
        {"replica_lag": 1.0, "redis": "redis://127.0.0.1:1"},
    ],
)
def test_options_that_make_no_sense_are_refused_at_once(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        LocalUpstash(**options)  # type: ignore[arg-type]
    assert "'t'" not in str(caught.value)


def test_serve_with_everything_given() -> None:
    engine = Engine()
    engine.start()
    try:
        arguments = ["--token", "all", "--read-only-token", "read", "--database", f"other={engine.url}"]
        with serving(*arguments) as (_, variables):
            assert set(variables) == {"UPSTASH_REDIS_REST_URL", "CHATSTASH_CONTROL_URL"}
            for token, status in (("all", 200), ("read", 400), ("other", 200), ("none", 401)):
                url = variables["UPSTASH_REDIS_REST_URL"]
                assert urllib3.request("GET", f"{url}/set/k/v?_token={token}", retries=False).status == status
    finally:
        engine.stop()


def test_tokens_may_come_from_the_environment_and_are_not_shown() -> None:
    with subprocess.Popen(
        [*CHATSTASH, "serve", "--port", "0"], stdout=subprocess.PIPE, text=True,
        env={**ENVIRONMENT, "CHATSTASH_TOKEN": "topsecret", "CHATSTASH_READ_ONLY_TOKEN": "alsosecret"},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said = ""
        while "Press Ctrl-C" not in said:
            said += (line := process.stdout.readline())
            assert line
        process.terminate()
        said += process.stdout.read()
    assert "secret" not in said
    assert "The token is the one you passed." in said


def test_a_database_that_is_none_is_refused_without_being_quoted() -> None:
    done = chatstash("serve", "--port", "0", "--database", "secret")
    assert done.returncode == 2
    assert "TOKEN=redis" in done.stderr
    assert "secret" not in done.stderr


def test_only_loopback_unless_asked_and_then_with_a_warning() -> None:
    with subprocess.Popen(
        [*CHATSTASH, "serve", "--port", "0", "--json", "--host", "0.0.0.0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        variables = json.loads(process.stdout.readline())
        process.terminate()
        assert "other machines can connect" in process.stderr.read()
    assert variables["UPSTASH_REDIS_REST_URL"].startswith("http://127.0.0.1:")
    assert variables["CHATSTASH_CONTROL_URL"].startswith("http://127.0.0.1:")
    assert not LocalUpstash().is_open_to_others
    assert LocalUpstash(host="::").is_open_to_others
    assert not LocalUpstash(host="::1").is_open_to_others
