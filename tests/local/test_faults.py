"""Faults on demand: which requests they hit, what a client sees of each, and what each leaves behind."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st

from chatstash.local import Fault, Faults, LocalUpstash
from tests.local.client import Client, connected, raw_request, read_all, statuses

PUSH = [["LPUSH", "message_store:s", "x"]]
READ = [["LRANGE", "message_store:s", "0", "-1"]]


# Which.


@pytest.mark.parametrize(
    ("pattern", "hit"),
    [
        ("", True), ("LPUSH", True), ("lpush", True), ("L*", True), ("LPUSH message_store:*", True),
        ("lpush message_store:?", True), ("* message_store:s", True), ("RPUSH", False), ("LPUSH other:*", False),
        ("PUSH", False), ("LPUSH MESSAGE_STORE:s", False), ("LRANGE", False),
    ],
)  # fmt: skip
def test_which_requests_a_fault_is_meant_for(pattern: str, hit: bool) -> None:
    assert Fault("reset", matching=pattern).matches([["EXPIRE", "message_store:s", "1"], *PUSH]) is hit


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "flood"}, {"kind": "delay", "seconds": -1}, {"kind": "delay", "seconds": True},
        {"kind": "reset", "probability": 1.1}, {"kind": "reset", "times": 0}, {"kind": "reset", "times": 1.5},
        {"kind": "reset", "matching": 1}, {"kind": "reply_lost", "applied": False}, {"kind": "delay", "seconds": "1"},
        {"kind": "delay", "jitter": float("nan")}, {"kind": "reply_lost", "seconds": 1}, {"kind": "reset", "jitter": 1},
        {"kind": "throttled", "jitter": 1}, {"kind": "reset", "times": True}, {"kind": "reset", "applied": "false"},
        {"kind": "reset", "held": True}, {"kind": "delay", "held": 1}, {"kind": "delay", "held": True, "seconds": 1},
        {"kind": "replayed", "held": True, "jitter": 1}, {"kind": "replayed", "applied": True},
    ],
)  # fmt: skip
def test_a_fault_that_makes_no_sense(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Fault(**bad)
    with pytest.raises(ValueError, match=r"."):
        Fault.from_json(bad)


@pytest.mark.parametrize("text", ["", "flood", "delay:1", "delay:seconds=x", "delay:sec=1", "reset:applied=maybe"])
def test_a_fault_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Fault.parse(text)


@pytest.mark.parametrize("value", [None, 1, [], {}, {"kind": "reset", "what": 1}])
def test_json_that_is_no_fault(value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        Fault.from_json(value)


_KINDS = st.sampled_from(["delay", "reply_lost", "request_lost", "reset", "truncated", "no_answer"])


@given(
    st.builds(
        Fault,
        st.sampled_from(["delay", "applied_late"]),
        seconds=st.floats(0, 3600),
        jitter=st.floats(0, 3600),
        probability=st.floats(0, 1),
        times=st.none() | st.integers(1, 100),
        matching=st.text(),
    )
    | st.builds(Fault, _KINDS, probability=st.floats(0, 1), times=st.none() | st.integers(1, 100), matching=st.text())
)
def test_a_fault_goes_out_and_comes_back(fault: Fault) -> None:
    assert Fault.from_json(json.loads(json.dumps(fault.to_json()))) == fault


def test_a_fault_as_the_command_line_has_it() -> None:
    fault = Fault.parse("throttled:times=2,matching=LPUSH message_store:*,seconds=1.5")
    assert fault == Fault("throttled", seconds=1.5, times=2, matching="LPUSH message_store:*")
    assert Fault.parse("reset:applied=true").runs_commands
    assert Fault.parse("replayed:held=true,matching=LPUSH") == Fault("replayed", held=True, matching="LPUSH")


def kinds(faults: Faults, commands: Any = PUSH, requests: int = 1) -> list[str]:
    return [" ".join(fault.kind for fault in faults.pick(commands)) for _ in range(requests)]


def test_a_plan_is_followed_in_order() -> None:
    faults = Faults()
    faults.next("reply_lost", None, Fault("delay", times=2), "truncated")
    assert kinds(faults, requests=6) == ["reply_lost", "", "delay", "delay", "truncated", ""]
    assert faults.is_empty


def test_a_plan_waits_for_what_it_is_meant_for() -> None:
    faults = Faults()
    faults.next("reply_lost", "reset", matching="LPUSH")
    assert kinds(faults, READ, 3) == ["", "", ""]
    assert kinds(faults, PUSH, 3) == ["reply_lost", "reset", ""]


def test_rules_hit_so_many_times_and_so_often() -> None:
    faults = Faults(seed=7)
    faults.add("reply_lost", times=2, matching="LPUSH")
    assert kinds(faults, READ, 2) == ["", ""]
    assert kinds(faults, PUSH, 4) == ["reply_lost", "reply_lost", "", ""]
    faults.add("reset", probability=0.25)
    hits = kinds(faults, requests=2000).count("reset")
    assert 400 < hits < 600
    assert faults.to_json()["rules"][0]["hits"] == hits
    faults.clear()
    assert kinds(faults) == [""]


def test_the_same_seed_gives_the_same_chances() -> None:
    runs = []
    for _ in range(2):
        faults = Faults(seed=42)
        faults.add("reset", probability=0.5)
        runs.append(kinds(faults, requests=100))
    faults.seed(42)
    assert runs[0] == runs[1] == kinds(faults, requests=100)


def test_delays_add_up_and_go_with_one_other() -> None:
    faults = Faults(seed=1)
    faults.add("delay", seconds=1.0)
    faults.add("delay", seconds=1.0, jitter=1.0)
    faults.add("reset")
    faults.add("truncated")
    picked = faults.pick(PUSH)
    assert [fault.kind for fault in picked] == ["delay", "delay", "reset"]
    assert picked[0].seconds == 1.0
    assert 1.0 <= picked[1].seconds <= 2.0


# What a client sees.


@pytest.fixture
def client(upstash: LocalUpstash) -> Iterator[Client]:
    yield Client(upstash)
    upstash.faults.clear()


def push(upstash: LocalUpstash) -> bytes:
    """Push a message over a raw connection, and return all that comes back until it is closed."""
    with connected(upstash) as raw:
        raw.sendall(raw_request(upstash, json.dumps(PUSH[0]).encode()))
        return read_all(raw)


def length(client: Client) -> int:
    client.upstash.faults.clear()
    return int(client.run("LLEN", "message_store:s"))


def test_a_delay(client: Client) -> None:
    client.upstash.faults.next("delay", seconds=0.2)
    start = time.monotonic()
    assert client.run(*PUSH[0]) == 1
    assert time.monotonic() - start >= 0.2


@pytest.mark.parametrize(("kind", "stored"), [("reply_lost", 1), ("request_lost", 0)])
def test_a_lost_reply_and_a_lost_request_look_the_same(client: Client, kind: Any, stored: int) -> None:
    client.upstash.faults.next(kind)
    assert push(client.upstash) == b""
    assert length(client) == stored


@pytest.mark.parametrize("applied", [True, False])
def test_a_reset(client: Client, applied: bool) -> None:
    client.upstash.faults.next("reset", applied=applied)
    with connected(client.upstash) as raw:
        raw.sendall(raw_request(client.upstash, json.dumps(PUSH[0]).encode()))
        with pytest.raises(ConnectionResetError):
            raw.recv(100)
    assert length(client) == applied


def test_applied_late(client: Client) -> None:
    client.upstash.faults.next("applied_late", seconds=0.2)
    start = time.monotonic()
    assert push(client.upstash) == b""
    while not length(client):
        time.sleep(0.01)
    assert time.monotonic() - start >= 0.2


def test_what_was_to_be_applied_late_is_forgotten_with_a_flush(client: Client) -> None:
    client.upstash.faults.next("applied_late", seconds=3600)
    push(client.upstash)
    client.upstash.flush()
    replays = client.upstash._worker._gateway._replays  # type: ignore[union-attr]
    while replays:
        time.sleep(0.01)
    assert length(client) == 0


def test_a_truncated_body(client: Client) -> None:
    client.upstash.faults.next("truncated")
    answer = push(client.upstash)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert statuses(answer) == [200]
    whole = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
    assert 0 < len(body) < whole
    assert length(client) == 1


@pytest.mark.parametrize("applied", [None, True])
@pytest.mark.parametrize(
    ("kind", "status", "content_type"),
    [("unavailable", 503, "text/html"), ("server_error", 500, "application/json")],
)
def test_errors_of_the_server(client: Client, kind: Any, status: int, content_type: str, applied: bool | None) -> None:
    client.upstash.faults.next(kind, applied=applied)
    reply = client.send("/", PUSH[0])
    assert (reply.status, reply.headers["content-type"]) == (status, content_type)
    assert reply.data
    assert length(client) == bool(applied)


def test_throttled(client: Client) -> None:
    client.upstash.faults.next("throttled", seconds=2)
    reply = client.send("/", PUSH[0])
    assert (reply.status, reply.headers["retry-after"]) == (429, "2")
    assert "error" in reply.json()
    assert length(client) == 0


@pytest.mark.parametrize("applied", [True, False])
def test_never_answered(client: Client, applied: bool) -> None:
    client.upstash.faults.next("no_answer", applied=applied)
    with connected(client.upstash) as raw:
        raw.sendall(raw_request(client.upstash, json.dumps(PUSH[0]).encode()))
        while not client.upstash.stats.faults:
            time.sleep(0.01)
        raw.settimeout(0.2)
        with pytest.raises(TimeoutError):
            raw.recv(100)
    assert length(client) == applied


def test_a_stop_does_not_wait_for_who_is_never_answered() -> None:
    with LocalUpstash() as upstash, connected(upstash) as raw:
        upstash.faults.next("no_answer")
        raw.sendall(raw_request(upstash))
        while not upstash.stats.requests:
            time.sleep(0.01)
        upstash.stop()


def test_who_leaves_before_the_answer_leaves_nothing(client: Client) -> None:
    client.upstash.faults.add("no_answer", matching="ECHO")
    for _ in range(20):
        with connected(client.upstash) as raw:
            raw.sendall(raw_request(client.upstash, b'["ECHO", "x"]'))
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert client.run("PING") == "PONG"


def test_faults_need_a_valid_token(client: Client) -> None:
    client.upstash.faults.next("reset")
    assert client.send("/", ["PING"], token="wrong").status == 401
    with pytest.raises(urllib3.exceptions.HTTPError):
        client.run("PING")


def test_a_fault_is_counted_and_logged(client: Client) -> None:
    client.upstash.faults.next("delay", "server_error")
    client.run("PING")
    client.send("/", ["PING"])
    assert client.upstash.stats.faults == 2
    assert [entry.fault for entry in client.upstash.log] == ["delay", "server_error"]


def test_a_batch_is_hit_by_any_of_its_commands(client: Client) -> None:
    client.upstash.faults.next("server_error", matching="EXPIRE message_store:*")
    batch = [*PUSH, ["EXPIRE", "message_store:s", "60"]]
    assert client.ask("/multi-exec", batch)[0] == 500
    assert client.ask("/multi-exec", batch)[0] == 200


# Late, at a moment the test chooses.


def test_a_request_is_held_until_its_release_and_applied_when_that_returns(client: Client) -> None:
    upstash = client.upstash
    upstash.faults.next("applied_late", held=True, matching="LPUSH")
    assert push(upstash) == b""
    # The client was told nothing, and nothing is stored, however long the test goes on.
    assert (length(client), upstash.held) == (0, [("LPUSH message_store:s",)])
    assert upstash.release() == 1
    assert (length(client), upstash.held) == (1, [])
    assert upstash.release() == 0


def test_held_requests_are_released_in_order_by_count_and_by_command(client: Client) -> None:
    upstash = client.upstash
    upstash.faults.add("applied_late", held=True, times=3)
    for words in (["RPUSH", "l", "1"], ["RPUSH", "l", "2"], ["RPUSH", "m", "3"]):
        with pytest.raises(urllib3.exceptions.HTTPError):
            client.send("/", words)
    assert upstash.release(matching="RPUSH m") == 1
    assert (client.run("LRANGE", "l", 0, -1), client.run("LRANGE", "m", 0, -1)) == ([], ["3"])
    assert upstash.release(1) == 1
    assert client.run("LRANGE", "l", 0, -1) == ["1"]
    assert upstash.release() == 1
    assert client.run("LRANGE", "l", 0, -1) == ["1", "2"]
    with pytest.raises(ValueError, match="count"):
        upstash.release(-1)


@pytest.mark.parametrize("applied", [False, True])
def test_a_held_delay_keeps_the_request_or_only_its_reply(client: Client, applied: bool) -> None:
    upstash = client.upstash
    upstash.faults.next("delay", held=True, applied=applied)
    with connected(upstash) as raw:
        raw.sendall(raw_request(upstash, json.dumps(PUSH[0]).encode()))
        upstash.wait_until_held()
        assert client.run("LLEN", "message_store:s") == applied
        assert upstash.release() == 1
        assert client.run("LLEN", "message_store:s") == 1
        assert statuses(raw.recv(4096)) == [200]


def test_a_held_request_is_applied_also_where_its_client_has_left(client: Client) -> None:
    client.upstash.faults.next("delay", held=True)
    with connected(client.upstash) as raw:
        raw.sendall(raw_request(client.upstash, json.dumps(PUSH[0]).encode()))
        client.upstash.wait_until_held()
    assert client.upstash.release() == 1
    assert length(client) == 1


def test_a_request_is_replayed_at_once_as_by_a_proxy_that_retries(client: Client) -> None:
    client.upstash.faults.next("replayed", matching="LPUSH")
    assert client.run(*PUSH[0]) == 2
    assert client.run("LLEN", "message_store:s") == 2
    assert client.upstash.stats.billed_commands == 3


def test_a_request_is_replayed_late(client: Client) -> None:
    client.upstash.faults.next("replayed", held=True)
    assert client.run(*PUSH[0]) == 1
    assert client.upstash.release() == 1
    assert length(client) == 2


def test_a_request_is_applied_its_reply_lost_and_applied_again(client: Client) -> None:
    client.upstash.faults.next("applied_late", held=True, applied=True)
    assert push(client.upstash) == b""
    assert length(client) == 1
    client.upstash.release()
    assert length(client) == 2


@pytest.mark.parametrize("end", ["flush", "reset"])
def test_what_is_held_is_forgotten_with_the_data(client: Client, end: str) -> None:
    client.upstash.faults.next("applied_late", "delay", held=True)
    push(client.upstash)
    with connected(client.upstash) as raw:
        raw.sendall(raw_request(client.upstash, json.dumps(PUSH[0]).encode()))
        client.upstash.wait_until_held(2)
        getattr(client.upstash, end)()
        assert read_all(raw) == b""
    assert client.upstash.release() == 0
    assert length(client) == 0


def test_waiting_for_what_is_not_held_ends(client: Client) -> None:
    with pytest.raises(TimeoutError, match="not held"):
        client.upstash.wait_until_held(timeout=0.01)


def test_a_server_with_held_requests_stops() -> None:
    with LocalUpstash() as upstash:
        upstash.faults.next("applied_late", "delay", held=True)
        push(upstash)
        with connected(upstash) as raw:
            raw.sendall(raw_request(upstash))
            upstash.wait_until_held(2)
            upstash.stop()
            assert read_all(raw) == b""
