"""The REST endpoint as a client sees it: status codes, texts, encodings, limits."""

from __future__ import annotations

import base64
import socket
import threading
import time
from typing import Any

import pytest
import urllib3

from chatstash.local import LocalUpstash
from chatstash.local.rest.command_rules import rejection_of
from tests.local.client import Client

MB = 1024 * 1024


@pytest.fixture
def client(upstash: LocalUpstash) -> Client:
    return Client(upstash)


def test_a_command(client: Client) -> None:
    assert client.ask("/", ["SET", "k", "v"]) == (200, {"result": "OK"})
    assert client.ask("/", ["GET", "k"]) == (200, {"result": "v"})
    assert client.ask("/", ["GET", "none"]) == (200, {"result": None})
    assert client.ask("/", ["RPUSH", "l", 1, 2.5, "c"]) == (200, {"result": 3})
    assert client.ask("/", ["LRANGE", "l", 0, -1]) == (200, {"result": ["1", "2.5", "c"]})
    assert client.send("/", ["GET", "k"]).headers["content-type"] == "application/json"


def test_a_failed_command_is_a_400(client: Client) -> None:
    client.ask("/", ["SET", "k", "v"])
    status, body = client.ask("/", ["LPUSH", "k", "v"])
    assert status == 400
    assert body["error"].startswith("WRONGTYPE")
    assert client.ask("/", ["GET"])[1]["error"] == "ERR wrong number of arguments for 'get' command"


def test_a_pipeline_runs_on_past_a_failure(client: Client) -> None:
    status, body = client.ask(
        "/pipeline", [["SET", "k", "v"], ["INCR", "k"], ["NOSUCH"], ["CONFIG", "GET", "*"], ["GET", "k"]]
    )
    assert status == 200
    assert body[0] == {"result": "OK"}
    assert all("error" in entry for entry in body[1:4])
    assert body[4] == {"result": "v"}


def test_a_transaction_runs_on_past_a_failure_while_running(client: Client) -> None:
    status, body = client.ask("/multi-exec", [["SET", "k", "v"], ["INCR", "k"], ["SET", "m", 1]])
    assert (status, body[0], body[2]) == (200, {"result": "OK"}, {"result": "OK"})
    assert "not an integer" in body[1]["error"]


@pytest.mark.parametrize(
    "bad", [["NOSUCH", "x"], ["GET"], ["CONFIG", "GET", "*"], ["BLPOP", "l", 0], ["SET", "k", "x" * 11 * MB]]
)
def test_a_transaction_with_a_command_that_is_refused_is_discarded_whole(client: Client, bad: list[Any]) -> None:
    status, body = client.ask("/multi-exec", [["SET", "k", "v"], bad])
    assert status == 400
    assert set(body) == {"error"}
    assert client.ask("/", ["GET", "k"]) == (200, {"result": None})


def test_transactions_are_atomic(client: Client) -> None:
    def push(name: str) -> None:
        own = Client(client.upstash)
        for _ in range(30):
            own.ask("/multi-exec", [["RPUSH", "l", name], ["RPUSH", "l", name], ["RPUSH", "l", name]])

    threads = [threading.Thread(target=push, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pushed = client.ask("/", ["LRANGE", "l", 0, -1])[1]["result"]
    assert len(pushed) == 360
    assert all(len(set(pushed[start : start + 3])) == 1 for start in range(0, 360, 3))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"7",
        b'"GET"',
        b"{}",
        b"[]",
        b"[[]]",
        b"[[1],7]",
        b"[null]",
        b"[true]",
        b'[["GET","k"]]',
        b"[NaN]",
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_a_body_that_is_no_command(client: Client, body: bytes) -> None:
    status, answer = client.ask("/", body)
    assert status == 400
    assert answer["error"].startswith("ERR ")


@pytest.mark.parametrize(
    ("path", "body", "stored"),
    [
        ("/", b'["SET","k",true]', "true"),
        ("/", b'["SET",true,false]', None),
        ("/", b'["EVAL","return redis.call(\'SET\', KEYS[1], ARGV[1])",1,"k",false]', "false"),
        ("/pipeline", b'[["PING"],["SET","k",true]]', "true"),
        ("/multi-exec", b'[["SET","k",false],["PING"]]', "false"),
        ("/set/k", b"true", "true"),
        ("/", b'["SET","k",true,"EX",100]', "true"),
        ("/pipeline", b'[["SET","k",true],["SET","j",1.50]]', "true"),
    ],
)
def test_booleans_are_words(client: Client, path: str, body: bytes, stored: str | None) -> None:
    client.ask(path, body)
    assert client.run("GET", "k") == stored
    if stored is None:
        assert client.run("GET", "true") == "false"


@pytest.mark.parametrize(
    ("argument", "error"),
    [
        (b"null", "ERR null args are not supported"),
        (b"[1]", 'ERR unsupported arg type: "[": json.Delim'),
        (b'{"a":1}', 'ERR unsupported arg type: "{": json.Delim'),
    ],
)
def test_other_arguments_are_refused_as_upstash_does(client: Client, argument: bytes, error: str) -> None:
    batch = b'[["SET","k","v"],["SET","k",%b]]' % argument
    for path, body in (("/", b'["SET","k",%b]' % argument), ("/pipeline", batch), ("/multi-exec", batch)):
        assert client.ask(path, body) == (400, {"error": error})
    assert client.run("GET", "k") is None


@pytest.mark.parametrize("number", ["123456789012345678901234567890", "1.50", "1e-7", "1E400", "0.1", "-1e+21"])
def test_numbers_are_stored_as_they_are_written(client: Client, number: str) -> None:
    for path, body in (("/", f'["SET","k",{number}]'), ("/pipeline", f'[["PING"],["SET","k",{number}]]')):
        client.ask(path, body.encode())
        assert client.run("GET", "k") == number


@pytest.mark.parametrize(
    ("command", "lacking"),
    [
        (["SCAN", 0, "withtype"], "SCAN WITHTYPE"),
        (["SCAN", 0, "MATCH", "*", "COUNT", 10, "TYPE", "list", "WITHTYPE"], "SCAN WITHTYPE"),
        (["BITOP", "ANDOR", "d", "a", "b"], "BITOP ANDOR"),
        (["XADD", "x", "KEEPREF", "MAXLEN", "=", 1, "*", "f", "v"], "XADD KEEPREF"),
        (["XTRIM", "x", "MAXLEN", "=", 1, "delref"], "XTRIM DELREF"),
        (["XDELEX", "x", "IDS", 1, "1-1"], "XDELEX"),
        (["MOVE", "k", 1], "MOVE"),
        (["COPY", "a", "b", "DB", 1], "COPY DB"),
        (["COPY", "a", "b", "REPLACE", "db", 0], "COPY DB"),
    ],
)
def test_what_the_engine_lacks_or_has_too_much_is_not_available(client: Client, command: Any, lacking: str) -> None:
    assert f"ERR Command is not available: '{lacking}'" in client.error(*command)


def test_what_only_looks_like_such_an_option_is_none(client: Client) -> None:
    client.run("SET", "withtype", "v")
    assert client.run("SCAN", 0, "MATCH", "withtype")[1] == ["withtype"]
    assert client.run("COPY", "withtype", "DB") == 1
    assert client.error("BITOP", "TWO", "d", "a").startswith("ERR syntax error")


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"[[]]", b'["GET","k"]', b'[["GET","k"],[]]', b'[["GET",null]]'])
def test_a_body_that_is_no_batch(client: Client, body: bytes) -> None:
    status, answer = client.ask("/pipeline", body)
    assert status == 400
    assert answer["error"].startswith("ERR ")


@pytest.mark.parametrize("token", ["", "wrong", "tökén"])
def test_a_wrong_token(client: Client, token: str) -> None:
    reply = client.send("/", ["PING"], token=token.encode("utf-8").decode("latin-1"))
    assert reply.status == 401
    assert reply.json() == {"error": "WRONGPASS invalid or missing auth token"}


def test_no_token_at_all(client: Client) -> None:
    assert urllib3.request("POST", client.upstash.url, body=b'["PING"]', retries=False).status == 401
    assert client.send("/", ["PING"], authorization="Basic abc").status == 401


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "OPTIONS"])
def test_methods_the_api_does_not_know(client: Client, method: str) -> None:
    assert client.send("/", b"", method=method).status == 405


def test_the_three_encodings(client: Client) -> None:
    client.ask("/", ["EVAL", "return redis.call('RPUSH', KEYS[1], '\\255', 'a', 'OK')", 1, "l"])
    command = ["LRANGE", "l", 0, -1]
    assert client.ask("/", command)[1] == {"result": ["\ufffd", "a", "OK"]}
    assert client.ask("/", command, upstash_encoding="base64")[1] == {"result": ["/w==", "YQ==", "OK"]}
    reply = client.send("/", command, upstash_response_format="resp2")
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.data.startswith(b"*3\r\n$1\r\n\xff\r\n$1\r\na\r\n")
    pipelined = client.send("/pipeline", [["GET", "none"], ["LLEN", "l"], ["GET"]], upstash_response_format="resp2")
    assert pipelined.data == b"$-1\r\n:3\r\n-ERR wrong number of arguments for 'get' command\r\n"


def test_a_transaction_answers_in_json_whatever_is_asked(client: Client) -> None:
    batch = [["SET", "k", "é"], ["GET", "k"]]
    reply = client.send("/multi-exec", batch, upstash_response_format="resp2")
    assert reply.json() == [{"result": "OK"}, {"result": "é"}]
    encoded = base64.b64encode("é".encode()).decode()
    assert client.ask("/multi-exec", batch, upstash_encoding="base64")[1] == [{"result": "OK"}, {"result": encoded}]


@pytest.mark.parametrize(
    "headers",
    [{"upstash_response_format": "resp3"}, {"upstash_response_format": "resp2", "upstash_encoding": "base64"}],
)
def test_formats_that_are_not_permitted(client: Client, headers: dict[str, str]) -> None:
    assert client.send("/", ["PING"], **headers).status == 400


def test_nested_replies_and_errors_within_them(client: Client) -> None:
    script = "return {1, 'a', {2, false, {'b'}}, {}}"
    assert client.ask("/", ["EVAL", script, 0]) == (200, {"result": [1, "a", [2, None, ["b"]], []]})


def test_the_limits_of_command_and_reply(client: Client) -> None:
    status, body = client.ask("/", ["SET", "k", "x" * (10 * MB + 1)])
    assert status == 400
    assert body["error"].startswith("ERR max request size exceeded. Limit: 10485760 bytes")
    for _ in range(2):
        assert client.ask("/", ["RPUSH", "l", "x" * (6 * MB)])[0] == 200
    status, body = client.ask("/", ["LRANGE", "l", 0, -1])
    assert status == 400
    assert body["error"].startswith("ERR max request size exceeded")
    assert client.ask("/", ["LRANGE", "l", 0, 0])[0] == 200


def test_every_reply_carries_an_opaque_sync_token(client: Client) -> None:
    tokens = {client.send("/", ["PING"]).headers["upstash-sync-token"] for _ in range(3)}
    assert len(tokens) == 3


@pytest.mark.parametrize(
    "command",
    [
        ["BLPOP", "l", "0"], ["WATCH", "k"], ["multi"], ["EXEC"], ["SUBSCRIBE", "c"], ["MONITOR"],
        ["CLIENT", "REPLY", "OFF"],
        ["SCRIPT", "DEBUG", "YES"],
        ["POST"], ["host:"], ["ACL", "WHOAMI"], ["SELECT", "1"],
        ["QUIT"], ["RESET"], ["HELLO", "3"], ["SHUTDOWN"], ["DEBUG", "SLEEP", "5"], ["WAIT", "1", "0"],
        ["XREAD", "block", "0", "STREAMS", "s", "$"], ["CONFIG", "SET", "dir", "/"], ["REPLICAOF", "h", "1"],
        ["CLUSTER", "INFO"],
    ],
    ids=lambda command: command[0],
)  # fmt: skip
def test_commands_upstash_does_not_offer(client: Client, command: list[str]) -> None:
    status, body = client.ask("/", command)
    assert status == 400
    assert body["error"].startswith("ERR ")
    assert "not available" in body["error"] or "not allowed in REST" in body["error"]
    assert client.ask("/", ["ECHO", "still in step"]) == (200, {"result": "still in step"})


def test_replies_are_never_handed_to_another_request(client: Client) -> None:
    wrong: list[str] = []

    def echo(name: str) -> None:
        own = Client(client.upstash)
        for number in range(50):
            text = f"{name}-{number}"
            if own.ask("/", ["ECHO", text])[1] != {"result": text}:
                wrong.append(text)

    threads = [threading.Thread(target=echo, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        _send_and_leave(client.upstash)
    for thread in threads:
        thread.join()
    assert wrong == []


def _send_and_leave(upstash: LocalUpstash) -> None:
    host, port = upstash.url.removeprefix("http://").split(":")
    body = b'["EVAL","for i = 1, 100000 do end return 1",0]'
    head = f"POST / HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {upstash.token}\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection((host, int(port))) as gone:
        gone.sendall(head.encode() + body)


def test_a_transactions_replies_are_limited_one_by_one(client: Client) -> None:
    for name in ("a", "b"):
        client.ask("/", ["SET", name, "x" * (6 * MB)])
    status, body = client.ask("/multi-exec", [["GET", "a"], ["GET", "b"], ["SET", "c", "1"]])
    assert (status, len(body[0]["result"]), body[2]) == (200, 6 * MB, {"result": "OK"})


def test_a_script_that_never_ends_is_ended_and_the_others_go_on(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatstash.local.database.script_runner.LONGEST_SCRIPT_SECONDS", 0.5)
    status, body = client.ask("/", ["EVAL", "while true do end", 0])
    assert status == 400
    assert "killed" in body["error"]
    assert client.ask("/", ["PING"]) == (200, {"result": "PONG"})


@pytest.mark.long
def test_a_client_may_end_a_script_itself(client: Client) -> None:
    running = threading.Thread(target=client.ask, args=("/", ["EVAL", "while true do end", 0]))
    running.start()
    end = time.monotonic() + 60
    while client.ask("/", ["SCRIPT", "KILL"])[1] != {"result": "OK"} and time.monotonic() < end:
        time.sleep(0.05)
    running.join(60)
    assert not running.is_alive()
    assert client.ask("/", ["SCRIPT", "KILL"])[1]["error"].startswith("NOTBUSY")


def test_a_reply_nested_beyond_reading_fails_alone(client: Client) -> None:
    for depth in (300, 1500, 5000):
        script = f"local r = {{}} local t = r for i = 1, {depth} do t[1] = {{}} t = t[1] end return r"
        status, body = client.ask("/", ["EVAL", script, 0])
        assert status == 500
        assert body["error"].startswith("ERR ")
        assert client.ask("/", ["ECHO", "still in step"]) == (200, {"result": "still in step"})


def test_a_slash_too_many_is_no_redirect(client: Client) -> None:
    reply = client.send("/pipeline/", [["PING"]])
    assert reply.status == 400
    assert reply.json()["error"].startswith("ERR Command is not available: 'PIPELINE'")


@pytest.mark.parametrize(
    "command",
    [
        ["GET", "k"],
        ["XREAD", "STREAMS", "block", "0"],
        ["XREAD", "COUNT", "1", "STREAMS", "s", "0"],
        ["PING"],
        ["EVAL", "x", "0"],
    ],
)
def test_ordinary_commands_are_taken(command: list[str]) -> None:
    assert rejection_of(command) is None
