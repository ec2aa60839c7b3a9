"""The limits of a plan: refused as Upstash words it, at the size they are set to, and nothing stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from chatstash.local import PLANS, Limits, LocalUpstash, limits_of
from tests.local.client import Client

Start = Callable[..., Client]


@pytest.fixture
def limited() -> Iterator[Start]:
    """Start a server with limits: `limited(max_record_bytes=1000)`."""
    with ExitStack() as closing:

        def start(**overrides: int | None) -> Client:
            plan = limits_of("unlimited", **overrides)
            return Client(closing.enter_context(LocalUpstash(plan=plan)))

        yield start


def test_the_plans() -> None:
    assert PLANS["free"].max_commands == 500_000
    assert PLANS["free"].max_data_bytes == 256 * 1024 * 1024
    assert PLANS["payg"] == Limits()
    assert limits_of("free", max_commands=7).max_commands == 7
    assert limits_of("free", max_commands=0).max_commands is None
    for bad in ({"max_commands": -1}, {"max_commands": 1.5}, {"max_key_bytes": True}):
        with pytest.raises(ValueError, match="whole number"):
            limits_of("free", **bad)  # type: ignore[arg-type]


def test_a_command_over_the_request_size(limited: Start) -> None:
    client = limited(max_request_bytes=1000)
    exact = 1000 - len("SETk")
    assert client.run("SET", "k", "x" * exact) == "OK"
    error = client.error("SET", "k", "y" * (exact + 1))
    assert error.startswith("ERR max request size exceeded. Limit: 1000 bytes, Actual: 1001 bytes")
    assert client.run("GET", "k") == "x" * exact
    # By the command, not by the request.
    assert client.ask("/pipeline", [["SET", str(number), "x" * 900] for number in range(5)])[0] == 200
    assert client.ask("/multi-exec", [["SET", str(number), "x" * 900] for number in range(5)])[0] == 200


def test_a_reply_over_the_request_size(limited: Start) -> None:
    client = limited(max_request_bytes=1000)
    for _ in range(3):
        client.run("RPUSH", "l", "x" * 400)
    assert client.run("LRANGE", "l", 0, 1) == ["x" * 400] * 2
    assert client.error("LRANGE", "l", 0, -1).startswith("ERR max request size exceeded. Limit: 1000 bytes, Actual: 12")
    status, replies = client.ask("/pipeline", [["LRANGE", "l", 0, -1], ["LLEN", "l"]])
    assert (status, replies[1]) == (200, {"result": 3})
    assert "max request size" in replies[0]["error"]


def test_one_part_of_a_transaction_over_the_size_discards_it(limited: Start) -> None:
    client = limited(max_request_bytes=1000)
    status, body = client.ask("/multi-exec", [["SET", "a", "1"], ["SET", "b", "x" * 1000]])
    assert status == 400
    assert body["error"].startswith("ERR max request size exceeded")
    assert client.run("EXISTS", "a", "b") == 0


@pytest.mark.parametrize(
    "command",
    [
        ["SET", "KEY", "v"], ["GET", "KEY"], ["MSET", "a", "1", "KEY", "2"], ["LPUSH", "KEY", "v"],
        ["EVAL", "return 1", "2", "a", "KEY"], ["ZUNIONSTORE", "a", "2", "b", "KEY"],
    ],
    ids=lambda command: command[0],
)  # fmt: skip
def test_a_key_that_is_too_long(limited: Start, command: list[str]) -> None:
    client = limited(max_key_bytes=1000)
    fits, too_long = ([word if word != "KEY" else "é" * size for word in command] for size in (500, 501))
    assert client.ask("/", fits)[0] == 200
    assert client.error(*too_long).startswith("ERR max key size exceeded. Limit: 1000 bytes, Actual: 1002 bytes")


def test_a_value_is_no_key(limited: Start) -> None:
    client = limited(max_key_bytes=1000)
    assert client.run("SET", "k", "x" * 100_000) == "OK"
    assert client.run("RPUSH", "l", *["x" * 2000] * 10) == 10
    assert client.run("EVAL", "return 1", 1, "k", "x" * 2000) == 1
    assert client.run("ECHO", "x" * 2000) == "x" * 2000


def test_a_record_that_grows_too_large(limited: Start) -> None:
    client = limited(max_record_bytes=100_000)
    pushed = 0
    while (reply := client.ask("/", ["RPUSH", "l", "x" * 1000]))[0] == 200:
        pushed = reply[1]["result"]
        assert pushed < 200
    assert 80 <= pushed <= 100
    assert reply[1]["error"].startswith("ERR max single record size exceeded. Limit: 100000 bytes, Actual: ")
    assert client.run("LLEN", "l") == pushed
    # Others are not affected, and the record may be read, shortened, and written to again.
    assert client.run("RPUSH", "other", "x" * 1000) == 1
    assert client.run("LTRIM", "l", 0, 9) == "OK"
    assert client.run("RPUSH", "l", "x" * 1000) == 11


@pytest.mark.parametrize(
    "command", [["SETRANGE", "k", 200_000, "x"], ["SETBIT", "k", 2_000_000, 1], ["SET", "k", "x" * 100_001]]
)
def test_a_record_too_large_in_one_go(limited: Start, command: list[Any]) -> None:
    client = limited(max_record_bytes=100_000)
    assert "max single record size" in client.error(*command)
    assert client.run("EXISTS", "k") == 0


def test_a_large_value_may_be_replaced(limited: Start) -> None:
    client = limited(max_record_bytes=100_000)
    for _ in range(5):
        assert client.run("SET", "k", "x" * 90_000) == "OK"


def test_a_database_that_is_full_refuses_writes_but_not_reads_and_deletes(limited: Start) -> None:
    client = limited(max_data_bytes=1_000_000)
    stored = 0
    while (reply := client.ask("/", ["SET", f"k{stored}", "x" * 10_000]))[0] == 200:
        stored += 1
        assert stored < 200
    assert 70 <= stored <= 105
    assert reply[1]["error"].startswith("ERR DB capacity quota exceeded. Threshold: 1000000 bytes, Usage: ")
    assert client.run("GET", "k0") == "x" * 10_000
    assert "DB capacity" in client.error("EVAL", "return redis.call('SET', KEYS[1], 'x')", 1, "k")
    assert client.ask("/multi-exec", [["GET", "k0"], ["LPUSH", "l", "x"]])[0] == 400
    assert client.run("DEL", *[f"k{number}" for number in range(stored)]) == stored
    assert client.run("SET", "k", "x") == "OK"


def test_the_commands_of_a_month(limited: Start) -> None:
    client = limited(max_commands=5)
    assert client.ask("/pipeline", [["SET", "a", "1"], ["GET", "a"]])[0] == 200
    status, replies = client.ask("/pipeline", [["INCR", "a"]] * 5)
    assert (status, [reply.get("result") for reply in replies]) == (200, [2, 3, 4, None, None])
    assert replies[4]["error"].startswith("ERR max requests limit exceeded. Limit: 5, Usage: 5.")
    assert client.error("GET", "a").startswith("ERR max requests limit exceeded. Limit: 5, Usage: 5.")


def test_a_transaction_beyond_the_commands_of_a_month_is_discarded(limited: Start) -> None:
    client = limited(max_commands=3)
    assert client.ask("/multi-exec", [["INCR", "a"]] * 4)[0] == 400
    assert client.run("GET", "a") is None


def test_what_scripts_run_counts_towards_the_month(limited: Start) -> None:
    client = limited(max_commands=10)
    assert client.run("EVAL", "for i = 1, 9 do redis.call('INCR', KEYS[1]) end return 1", 1, "a") == 1
    assert "Usage: 10" in client.error("PING")


def test_a_plan_by_name() -> None:
    with LocalUpstash(plan="free") as upstash:
        assert Client(upstash).run("SET", "k", "x" * 1_000_000) == "OK"
        assert "Limit: 10485760" in Client(upstash).error("SET", "k", "x" * 11_000_000)
