"""The control endpoint: counters, log, faults, on a loopback port of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3

from chatstash.local import LocalUpstash
from chatstash.local.engine import Engine
from tests.cli.support import chatstash
from tests.local.client import Client


@pytest.fixture(scope="module")
def server() -> Iterator[LocalUpstash]:
    with LocalUpstash(control_port=0) as upstash:
        yield upstash


@pytest.fixture
def controlled(server: LocalUpstash) -> LocalUpstash:
    server.reset()
    return server


def ask(upstash: LocalUpstash, method: str, path: str, value: Any = None, token: str | None = None) -> tuple[int, Any]:
    body = b"" if value is None else json.dumps(value).encode()
    headers = {"authorization": f"Bearer {upstash.token if token is None else token}"}
    reply = urllib3.request(method, upstash.control_url + path, body=body, headers=headers, retries=False)
    return reply.status, reply.json()


def test_without_being_asked_for_there_is_none(upstash: LocalUpstash) -> None:
    assert upstash.control_url == ""
    assert "CHATSTASH_CONTROL_URL" not in upstash.environment


def test_counters_and_log(controlled: LocalUpstash) -> None:
    Client(controlled).run("SET", "k", "v")
    Client(controlled).run("GET", "k")
    status, stats = ask(controlled, "GET", "/stats")
    assert (status, stats["requests"], stats["billed_commands"], stats["connections"]) == (200, 2, 2, 2)
    assert [entry["commands"] for entry in ask(controlled, "GET", "/log")[1]] == [["SET k"], ["GET k"]]
    assert [entry["commands"] for entry in ask(controlled, "GET", "/log?last=1")[1]] == [["GET k"]]


def test_faults_by_rule_and_by_plan(controlled: LocalUpstash) -> None:
    assert ask(controlled, "POST", "/faults", {"kind": "server_error", "times": 1})[0] == 200
    assert ask(controlled, "POST", "/faults", ["throttled:matching=GET", {"kind": "delay"}])[0] == 200
    assert ask(controlled, "POST", "/faults/next", [None, "unavailable"])[0] == 200
    planned = ask(controlled, "GET", "/faults")[1]
    assert [fault and fault["kind"] for fault in planned["next"]] == [None, "unavailable"]
    assert [rule["kind"] for rule in planned["rules"]] == ["server_error", "throttled", "delay"]
    client = Client(controlled)
    assert [client.send("/", ["SET", "k", "v"]).status for _ in range(4)] == [200, 503, 500, 200]
    assert client.send("/", ["GET", "k"]).status == 429
    assert ask(controlled, "POST", "/faults/seed", 7)[0] == 200
    assert ask(controlled, "POST", "/faults/clear")[0] == 200
    assert client.run("GET", "k") == "v"


def test_held_requests_are_shown_and_released(controlled: LocalUpstash) -> None:
    client = Client(controlled)
    ask(controlled, "POST", "/faults/next", ["applied_late:held=true", "applied_late:held=true"])
    for words in (["SET", "a", "1"], ["SET", "b", "2"]):
        with pytest.raises(urllib3.exceptions.HTTPError):
            client.send("/", words)
    assert ask(controlled, "GET", "/held")[1] == [["SET a"], ["SET b"]]
    assert ask(controlled, "POST", "/release", {"count": 1})[1]["released"] == 1
    assert client.run("MGET", "a", "b") == ["1", None]
    assert ask(controlled, "POST", "/release")[1]["released"] == 1
    assert client.run("MGET", "a", "b") == ["1", "2"]
    for bad in ({"count": -1}, {"count": True}, {"matching": 1}, {"all": True}, [1]):
        assert ask(controlled, "POST", "/release", bad)[0] == 400


def test_flush_and_reset(controlled: LocalUpstash) -> None:
    client = Client(controlled)
    client.run("SET", "k", "v")
    assert ask(controlled, "POST", "/flush")[0] == 200
    assert client.run("GET", "k") is None
    ask(controlled, "POST", "/faults", {"kind": "reset"})
    assert ask(controlled, "POST", "/reset")[0] == 200
    assert ask(controlled, "GET", "/stats")[1]["requests"] == 0
    assert ask(controlled, "GET", "/faults")[1] == {"next": [], "rules": []}


@pytest.mark.parametrize(
    ("method", "path", "value", "status"),
    [
        ("POST", "/faults", {"kind": "flood"}, 400),
        ("POST", "/faults", [{"kind": "reset"}, {"kind": "flood"}], 400),
        ("POST", "/faults", {"kind": "reset", "probability": "often"}, 400),
        ("POST", "/faults/next", {"kind": "reset"}, 400),
        ("POST", "/faults/seed", "x", 400),
        ("POST", "/faults/seed", None, 400),
        ("GET", "/log?last=x", None, 400),
        ("GET", "/nosuch", None, 404),
        ("POST", "/stats", None, 404),
        ("DELETE", "/faults", None, 405),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    controlled: LocalUpstash, method: str, path: str, value: Any, status: int
) -> None:
    answered, body = ask(controlled, method, path, value)
    assert answered == status
    assert body["error"]
    assert ask(controlled, "GET", "/faults")[1] == {"next": [], "rules": []}


@pytest.mark.parametrize("token", ["", "wrong", "reader", "other"])
def test_only_the_standard_token_opens_it(token: str) -> None:
    engine = Engine()
    engine.start()
    try:
        with LocalUpstash(control_port=0, read_only_token="reader", databases={"other": engine.url}) as upstash:
            client = Client(upstash)
            client.run("SET", "k", "v")
            for method, path in (("POST", "/flush"), ("POST", "/reset"), ("GET", "/log"), ("GET", "/"), ("PUT", "/x")):
                status, body = ask(upstash, method, path, token=token)
                assert (status, "send the token" in body["error"]) == (401, True)
            assert client.run("GET", "k") == "v"
    finally:
        engine.stop()


def test_it_takes_the_token_as_the_rest_api_does(controlled: LocalUpstash) -> None:
    url = f"{controlled.control_url}/stats?_token={controlled.token}"
    assert urllib3.request("GET", url, retries=False).status == 200


def test_dev_tells_its_command_where_it_is() -> None:
    code = (
        "import os, urllib.request as r; "
        "url = '{CHATSTASH_CONTROL_URL}/stats?_token={UPSTASH_REDIS_REST_TOKEN}'.format(**os.environ); "
        "print(r.urlopen(url).read().decode())"
    )
    done = chatstash("dev", "--fault", "delay:seconds=0.01", "--", sys.executable, "-c", code)
    assert json.loads(done.stdout)["requests"] == 0


@pytest.mark.parametrize("fault", ["flood", "delay:seconds=x", "reset:often=1"])
def test_a_fault_that_makes_no_sense_on_the_command_line(fault: str) -> None:
    done: subprocess.CompletedProcess[str] = chatstash("serve", "--port", "0", "--fault", fault)
    assert done.returncode == 2
    assert "chatstash:" in done.stderr
    assert "Traceback" not in done.stderr
