"""Each curl example of Upstash's REST documentation, run as it stands there by curl itself.

https://upstash.com/docs/redis/features/restapi. Only the address and the token are put in; where the documentation
writes CMD_A or $VALUE, so does the test.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from chatstash.local import LocalUpstash
from tests.local.client import Client

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def shell(upstash: LocalUpstash, text: str) -> str:
    """Run an example of the documentation."""
    return subprocess.run(
        ["sh", "-c", _filled_in(upstash, text)], capture_output=True, timeout=30, check=True
    ).stdout.decode()


def _filled_in(upstash: LocalUpstash, text: str) -> str:
    text = text.replace("curl ", "curl -s ").replace("https://us1-merry-cat-32748.upstash.io", upstash.url)
    return text.replace("2553feg6a2d9842h2a0gcdb5f8efe9934", upstash.token)


def answer(upstash: LocalUpstash, text: str) -> Any:
    return json.loads(shell(upstash, text))


AUTHORIZED = '\\\n -H "Authorization: Bearer 2553feg6a2d9842h2a0gcdb5f8efe9934"'


def test_get_started(upstash: LocalUpstash) -> None:
    assert answer(upstash, f"curl https://us1-merry-cat-32748.upstash.io/set/foo/bar {AUTHORIZED}") == {"result": "OK"}
    assert Client(upstash).run("GET", "foo") == "bar"


def test_the_token_as_a_parameter(upstash: LocalUpstash) -> None:
    text = "curl https://us1-merry-cat-32748.upstash.io/set/foo/bar?_token=2553feg6a2d9842h2a0gcdb5f8efe9934"
    assert answer(upstash, text) == {"result": "OK"}


@pytest.mark.parametrize(
    ("path", "result"),
    [
        ("set/foo/bar", "OK"),
        ("set/foo/bar/EX/100", "OK"),
        ("get/foo", "old"),
        ("mget/foo1/foo2/foo3", ["1", "2", "3"]),
        ("hget/employee:23381/salary", "5000"),
        ("zadd/teams/100/team-x/90/team-y", 2),
    ],
)
def test_the_examples_of_api_semantics(upstash: LocalUpstash, path: str, result: Any) -> None:
    client = Client(upstash)
    client.run("MSET", "foo", "old", "foo1", 1, "foo2", 2, "foo3", 3)
    client.run("HSET", "employee:23381", "salary", 5000)
    assert answer(upstash, f"curl https://us1-merry-cat-32748.upstash.io/{path} {AUTHORIZED}") == {"result": result}


def test_a_value_in_the_body(upstash: LocalUpstash) -> None:
    text = f"curl -X POST -d '$VALUE' https://us1-merry-cat-32748.upstash.io/set/foo {AUTHORIZED}"
    assert answer(upstash, text) == {"result": "OK"}
    assert Client(upstash).run("GET", "foo") == "$VALUE"


def test_a_value_in_the_body_and_arguments_after_it(upstash: LocalUpstash) -> None:
    text = f"curl -X POST -d '$VALUE' https://us1-merry-cat-32748.upstash.io/set/foo?EX=100 {AUTHORIZED}"
    assert answer(upstash, text) == {"result": "OK"}
    assert Client(upstash).run("GET", "foo") == "$VALUE"
    assert 90 < Client(upstash).run("TTL", "foo") <= 100


def test_the_command_in_the_body(upstash: LocalUpstash) -> None:
    text = """curl -X POST -d '["SET", "foo", "bar", "EX", 100]' https://us1-merry-cat-32748.upstash.io """ + AUTHORIZED
    assert answer(upstash, text) == {"result": "OK"}
    assert 90 < Client(upstash).run("TTL", "foo") <= 100


def test_base64_encoded_responses(upstash: LocalUpstash) -> None:
    asked = AUTHORIZED + ' \\\n -H "Upstash-Encoding: base64"'
    assert answer(upstash, f"curl https://us1-merry-cat-32748.upstash.io/SET/foo/bar {asked}") == {"result": "OK"}
    assert answer(upstash, f"curl https://us1-merry-cat-32748.upstash.io/GET/foo {asked}") == {"result": "YmFy"}


def test_resp2_format_responses(upstash: LocalUpstash) -> None:
    # The documentation's own example misspells the header it has just named.
    asked = AUTHORIZED + ' \\\n -H "Upstash-Response-Format: resp2"'
    assert shell(upstash, f"curl https://us1-merry-cat-32748.upstash.io/SET/foo/bar {asked}") == "+OK\r\n"
    assert shell(upstash, f"curl https://us1-merry-cat-32748.upstash.io/GET/foo {asked}") == "$3\r\nbar\r\n"


@pytest.mark.parametrize("path", ["pipeline", "multi-exec"])
def test_pipelining_and_transactions(upstash: LocalUpstash, path: str) -> None:
    text = f"""curl -X POST https://us1-merry-cat-32748.upstash.io/{path} {AUTHORIZED} \\
 -d '
    [
      ["SET", "key1", "valuex"],
      ["SETEX", "key2", 13, "valuez"],
      ["INCR", "key1"],
      ["ZADD", "myset", 11, "item1", 22, "item2"]
    ]
    '"""
    first, second, third, fourth = answer(upstash, text)
    assert (first, second, fourth) == ({"result": "OK"}, {"result": "OK"}, {"result": 2})
    # Upstash: ERR value is not an int or out of range. The words are the engine's own.
    assert set(third) == {"error"}
    assert "out of range" in third["error"]


@pytest.mark.parametrize("path", ["pipeline", "multi-exec"])
def test_the_syntax_of_a_batch_with_commands_there_are_not(upstash: LocalUpstash, path: str) -> None:
    text = f"""curl -X POST https://us1-merry-cat-32748.upstash.io/{path} \\
 -H "Authorization: Bearer $TOKEN" -d '[["CMD_A", "arg0", "arg1"], ["CMD_B", "arg0", "arg1"]]'"""
    result = answer(upstash, text.replace("$TOKEN", upstash.token))
    errors = [result] if path == "multi-exec" else result
    assert all(entry["error"].startswith("ERR Command is not available: 'CMD_") for entry in errors)


@contextmanager
def listening(upstash: LocalUpstash, text: str) -> Iterator[Any]:
    """Run an example that goes on listening; yields a function that returns its next event."""
    command = _filled_in(upstash, text).replace("curl -s ", "exec curl -sN ", 1)
    with subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = process.stdout

        def event() -> str:
            line = lines.readline()
            assert lines.readline() == "\n"
            return line.rstrip("\n")

        try:
            yield event
        finally:
            process.terminate()


def test_monitor(upstash: LocalUpstash) -> None:
    text = f'curl -X POST https://us1-merry-cat-32748.upstash.io/monitor {AUTHORIZED} -H "Accept:text/event-stream"'
    with listening(upstash, text) as event:
        assert event() == 'data: "OK"'
        client = Client(upstash)
        client.run("GET", "k")
        client.run("SET", "k", "v")
        client.run("DBSIZE")
        client.run("KEYS", "*")
        seen = [event() for _ in range(4)]
    words = [line.split(" ", 4) for line in seen]
    assert [word[2:4] for word in words] == [["[0", "0.0.0.0:0]"]] * 4
    assert [word[4] for word in words] == ['"GET" "k"', '"SET" "k" "v"', '"DBSIZE"', '"KEYS" "*"']
    assert all(abs(float(word[1]) - time.time()) < 60 for word in words)


def test_subscribe_and_publish(upstash: LocalUpstash) -> None:
    subscribe = (
        f'curl -X POST https://us1-merry-cat-32748.upstash.io/subscribe/chat {AUTHORIZED} -H "Accept:text/event-stream"'
    )
    publish = f"curl -X POST https://us1-merry-cat-32748.upstash.io/publish/chat/hello {AUTHORIZED}"
    with listening(upstash, subscribe) as event:
        assert event() == "data: subscribe,chat,1"
        assert answer(upstash, publish) == {"result": 1}
        assert event() == "data: message,chat,hello"
        Client(upstash).run("PUBLISH", "chat", "how are you today?")
        assert event() == "data: message,chat,how are you today?"


def test_security_and_authentication(upstash: LocalUpstash) -> None:
    for text in (
        f"curl -X POST https://us1-merry-cat-32748.upstash.io/info {AUTHORIZED}",
        "curl -X POST https://us1-merry-cat-32748.upstash.io/info?_token=2553feg6a2d9842h2a0gcdb5f8efe9934",
    ):
        assert "redis_version" in answer(upstash, text)["result"]
