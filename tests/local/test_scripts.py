"""`allow-key-locking`: taken off for the engine, kept for the client, and its rule enforced."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from chatstash.local import LocalUpstash
from chatstash.local.database.key_locking import KeyLocking
from chatstash.local.engine import Engine
from tests.local.client import Client

FLAG = "#!lua flags=allow-key-locking\n"


@pytest.fixture
def client(upstash: LocalUpstash) -> Iterator[Client]:
    client = Client(upstash)
    yield client
    client.run("FUNCTION", "FLUSH")


def test_the_flag_of_scripts_is_taken_off_and_nothing_else() -> None:
    scripts = KeyLocking()
    for before, after in [
        (b"#!lua flags=allow-key-locking\nreturn 1", b"#!lua\nreturn 1"),
        (b"#!lua flags=no-writes,allow-key-locking\nreturn 1", b"#!lua flags=no-writes\nreturn 1"),
        (b"#!lua name=lib flags=allow-key-locking\nreturn 1", b"#!lua name=lib\nreturn 1"),
        (b"return 'allow-key-locking'", b"return 'allow-key-locking'"),
        (b"#!lua flags=no-writes\nreturn 1", b"#!lua flags=no-writes\nreturn 1"),
    ]:
        assert scripts.to_engine(["EVAL", before, "0"])[1] == after


def test_a_script_is_known_by_the_sha_of_the_text_the_client_has(client: Client) -> None:
    for script in (FLAG + "return KEYS[1]", "#!lua\nreturn KEYS[1]"):
        sha = hashlib.sha1(script.encode()).hexdigest()
        client.run("SCRIPT", "FLUSH")
        assert "NOSCRIPT" in client.error("EVALSHA", sha, 1, "k")
        assert client.run("SCRIPT", "LOAD", script) == sha
        assert client.run("SCRIPT", "EXISTS", sha, "0" * 40) == [1, 0]
        assert client.run("EVALSHA", sha, 1, "k") == "k"
        assert client.run("EVALSHA", sha.upper(), 1, "k") == "k"
        client.run("SCRIPT", "FLUSH")
        assert client.run("EVAL", script, 1, "k") == "k"
        assert client.run("EVALSHA", sha, 1, "k") == "k"


@pytest.mark.parametrize(
    "key",
    ["k", "with space", "glob*", "[a-c]", "back\\slash", "é", "a:b:{c}", "?", "", "new\nline", "message_store:x y"],
)
def test_keys_that_are_declared_may_be_used_whatever_they_hold(client: Client, key: str) -> None:
    script = FLAG + "redis.call('SET', KEYS[1], 'v') return redis.call('GET', KEYS[1])"
    assert client.run("EVAL", script, 1, key) == "v"
    assert client.run("GET", key) == "v"


@pytest.mark.parametrize(
    "body",
    [
        "return redis.call('SET', 'other', 'x')",
        "return redis.call('GET', 'other')",
        "return redis.call('GET', KEYS[1] .. '2')",
        "return redis.call('GET', ARGV[1])",
        "return redis.call('MGET', KEYS[1], 'other')",
        "return redis.call('ZUNIONSTORE', KEYS[1], 1, 'other')",
        "return redis.call('RENAME', KEYS[1], 'other')",
    ],
)
def test_a_key_that_is_not_declared_is_refused(client: Client, body: str) -> None:
    client.run("MSET", "glob*", "v", "other", "o")
    error = client.error("EVAL", FLAG + body, 1, "glob*", "argument")
    assert error.startswith("ERR Dynamic keys are not allowed")
    sha = client.run("SCRIPT", "LOAD", FLAG + body)
    assert client.error("EVALSHA", sha, 1, "glob*", "argument").startswith("ERR Dynamic keys are not allowed")
    assert client.run("GET", "other") == "o"
    # Without the flag it may.
    assert "Dynamic" not in str(client.ask("/", ["EVAL", body, 1, "glob*", "argument"]))


def test_a_pattern_in_a_key_opens_no_other_key(client: Client) -> None:
    client.run("SET", "globbed", "o")
    script = FLAG + "return redis.call('GET', 'globbed')"
    assert "Dynamic keys" in client.error("EVAL", script, 1, "glob*")


@pytest.mark.parametrize("command", ["FLUSHDB", "FLUSHALL", "DBSIZE", "RANDOMKEY", "KEYS', '*", "SCAN', '0"])
def test_what_needs_the_whole_database_is_refused(client: Client, command: str) -> None:
    client.run("SET", "k", "v")
    assert "not available to the script" in client.error("EVAL", FLAG + f"return redis.call('{command}')", 1, "k")
    assert client.run("GET", "k") == "v"


def test_what_needs_no_key_is_permitted(client: Client) -> None:
    assert len(client.run("EVAL", FLAG + "return redis.call('TIME')", 0)) == 2
    assert client.run("EVAL", FLAG + "return redis.call('PUBLISH', 'c', 'm')", 0) == 0


def test_within_a_transaction_a_script_locks_everything_and_may_use_every_key(client: Client) -> None:
    status, replies = client.ask("/multi-exec", [["EVAL", FLAG + "return redis.call('SET', 'other', 'x')", 0]])
    assert (status, replies) == (200, [{"result": "OK"}])


def test_others_are_not_restricted_by_a_script_among_them(client: Client) -> None:
    status, replies = client.ask(
        "/pipeline",
        [
            ["SET", "a", "1"],
            ["EVAL", FLAG + "return redis.call('GET', 'a')", 1, "b"],
            ["EVAL", FLAG + "return redis.call('GET', KEYS[1])", 1, "a"],
            ["GET", "a"],
            ["DBSIZE"],
        ],
    )
    assert status == 200
    assert "Dynamic keys" in replies[1]["error"]
    assert [reply.get("result") for reply in replies] == ["OK", None, "1", "1", 1]


LIBRARY = """#!lua name=lib
redis.register_function{function_name='locked', flags={'allow-key-locking'},
  callback=function(keys, args) return redis.call('GET', args[1] or keys[1]) end}
redis.register_function{function_name='free',
  callback=function(keys, args) return redis.call('GET', args[1] or keys[1]) end}
redis.register_function{function_name='reads', flags={"no-writes", "allow-key-locking"},
  callback=function(keys, args) return redis.call('GET', args[1] or keys[1]) end}
"""


def test_functions_set_the_flag_one_by_one(client: Client) -> None:
    client.run("MSET", "k", "v", "other", "o")
    assert client.run("FUNCTION", "LOAD", LIBRARY) == "lib"
    for name in ("locked", "free", "reads"):
        assert client.run("FCALL", name, 1, "k") == "v"
    assert client.run("FCALL_RO", "reads", 1, "k") == "v"
    assert client.run("FCALL", "free", 1, "k", "other") == "o"
    for call in ("FCALL", "FCALL_RO"):
        assert "Dynamic keys" in client.error(call, "reads", 1, "k", "other")
    assert "Dynamic keys" in client.error("FCALL", "LOCKED", 1, "k", "other")
    listed = str(client.run("FUNCTION", "LIST", "WITHCODE"))
    assert "allow-key-locking" in listed
    assert "cross-slot" not in listed
    assert client.run("FUNCTION", "LOAD", "REPLACE", LIBRARY.replace("'allow-key-locking'", "")) == "lib"
    assert client.run("FCALL", "locked", 1, "k", "other") == "o"


def test_what_is_known_of_functions_outlasts_a_restart(tmp_path: object) -> None:
    for turn in range(2):
        with LocalUpstash(data=str(tmp_path)) as upstash:
            client = Client(upstash)
            if turn == 0:
                client.run("FUNCTION", "LOAD", LIBRARY)
            assert "Dynamic keys" in client.error("FCALL", "locked", 1, "k", "other")


def test_a_redis_given_is_left_without_users_of_ours() -> None:
    engine = Engine()
    engine.start()
    try:
        with LocalUpstash(redis=engine.url) as upstash:
            assert Client(upstash).run("EVAL", FLAG + "return redis.call('SET', 'other', 'x')", 0) == "OK"
    finally:
        engine.stop()
