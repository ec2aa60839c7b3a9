"""The three styles of a request, methods, tokens and events, beyond the documentation's examples."""

from __future__ import annotations

import json
import string
import time
from typing import Any
from urllib.parse import quote

import pytest
import urllib3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatstash.local import LocalUpstash
from chatstash.local.rest.command_rules import BadRequest
from chatstash.local.rest.requests import RequestKind, parse_request, token_of
from tests.local.client import Client, connected, raw_request


@pytest.fixture
def client(upstash: LocalUpstash) -> Client:
    return Client(upstash)


def commands(target: str, body: bytes = b"") -> list[Any]:
    return parse_request(target.encode(), {}, body).commands[0]


@pytest.mark.parametrize(
    ("target", "body", "command"),
    [
        ("/set/foo/bar", b"", [b"set", b"foo", b"bar"]),
        ("/set/foo", b"\x00\xff", [b"set", b"foo", b"\x00\xff"]),
        ("/set/foo?EX=100", b"v", [b"set", b"foo", b"v", b"EX", b"100"]),
        ("/set/foo?NX&EX=100&_token=t", b"v", [b"set", b"foo", b"v", b"NX", b"EX", b"100"]),
        ("/set/a%2Fb/c%20d", b"", [b"set", b"a/b", b"c d"]),
        ("/set/a+b/%2B", b"", [b"set", b"a+b", b"+"]),
        ("/set/k?a+b=%2B", b"v", [b"set", b"k", b"v", b"a b", b"+"]),
        ("/set/%ff/%00", b"", [b"set", b"\xff", b"\x00"]),
        ("/set/foo/", b"", [b"set", b"foo", b""]),
        ("/echo/100%", b"", [b"echo", b"100%"]),
        ("/", b'["set", 1, 2.50, "x"]', ["set", "1", "2.50", "x"]),
        ("/", b'["set", 123456789012345678901234567890, 1e400]', ["set", "123456789012345678901234567890", "1e400"]),
        ("/", '["set", "é"]'.encode(), ["set", "é".encode()]),
        ("/", b'["set", "\\ud83d"]', ["set", "\ufffd".encode()]),
        ("/?_token=t", b'["get", "k"]', ["get", "k"]),
    ],
)
def test_what_a_request_asks_for(target: str, body: bytes, command: list[Any]) -> None:
    assert commands(target, body) == command


@given(words=st.lists(st.binary(min_size=1), min_size=1), body=st.binary())
def test_any_bytes_in_a_path_arrive_as_they_are(words: list[bytes], body: bytes) -> None:
    target = "".join(f"/{quote(word, safe='')}" for word in [b"echo", *words])
    assert commands(target, body) == [b"echo", *words, *([body] if body else [])]


@given(words=st.lists(st.one_of(st.text(), st.integers()), min_size=1))
def test_any_words_in_a_body_arrive_as_they_are(words: list[str | int]) -> None:
    for escaped in (True, False):
        body = json.dumps(["echo", *words], ensure_ascii=escaped).encode("utf-8", "surrogatepass")
        try:
            command = commands("/", body)
        except BadRequest:
            # Half a surrogate pair, written raw, is no UTF-8 and so no JSON.
            assert not escaped
            continue
        as_bytes = [word.encode() if isinstance(word, str) else word for word in command]
        expected = [_as_json_reads(word) if isinstance(word, str) else str(word).encode() for word in words]
        assert as_bytes == [b"echo", *expected]


def _as_json_reads(text: str) -> bytes:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


@given(body=st.binary())
def test_a_body_is_a_command_or_a_bad_request(body: bytes) -> None:
    for target in (b"/", b"/pipeline", b"/multi-exec"):
        try:
            assert parse_request(target, {}, body).commands
        except BadRequest as error:
            assert str(error).startswith("ERR ")


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists))
def test_json_that_is_no_command_is_a_bad_request(value: Any) -> None:
    if isinstance(value, list) and value and all(isinstance(word, str | float | bool) for word in value):
        return
    with pytest.raises(BadRequest):
        parse_request(b"/", {}, json.dumps(value).encode())


def test_where_the_token_is_looked_for() -> None:
    assert token_of(b"/get/k?_token=a%2Bb", {}) == b"a+b"
    assert token_of(b"/get/k?_token=a", {b"authorization": b"bearer  b "}) == b"b"
    assert token_of(b"/get/k", {}) == b""
    assert token_of(b"/get/k", {b"authorization": b"Basic a"}) == b""
    assert parse_request(b"/subscribe/a", {}, b"").kind is RequestKind.EVENTS


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_the_methods_of_a_path(client: Client, method: str) -> None:
    assert client.send("/set/k/v", b"", method=method).json() == {"result": "OK"}
    assert client.send("/get/k", b"", method=method).json() == {"result": "v"}


def test_head_runs_the_command_and_has_no_body(client: Client) -> None:
    reply = client.send("/set/k/v", b"", method="HEAD")
    assert (reply.status, reply.data) == (200, b"")
    assert client.run("GET", "k") == "v"
    assert client.send("/nosuch", b"", method="HEAD").status == 400


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_other_methods(client: Client, method: str) -> None:
    reply = client.send("/set/k/v", b"", method=method)
    assert reply.status == 405
    assert client.run("GET", "k") is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(value=st.binary(max_size=2000))
def test_a_binary_value_comes_back_as_it_went(upstash: LocalUpstash, value: bytes) -> None:
    client = Client(upstash)
    if value:
        assert client.send("/set/binary", value).json() == {"result": "OK"}
        reply = client.send("/get/binary", b"", upstash_response_format="resp2")
        assert reply.data == (b"+OK\r\n" if value == b"OK" else b"$%d\r\n%b\r\n" % (len(value), value))
        assert client.send("/get/binary", b"").json() == {"result": value.decode(errors="replace")}


def test_nested_null_integer_float_and_large_replies(client: Client) -> None:
    assert client.run("EVAL", "return {1, false, 'a', {2, {3}}, {}}", 0) == [1, None, "a", [2, [3]], []]
    assert client.run("INCRBYFLOAT", "f", "1.5") == "1.5"
    assert client.run("INCRBY", "i", str(2**62)) == 2**62
    client.run("RPUSH", "l", *["x" * 100] * 50_000)
    assert client.run("LRANGE", "l", 0, -1) == ["x" * 100] * 50_000
    reply = client.send("/lrange/l/0/-1", b"", upstash_response_format="resp2")
    assert reply.data.startswith(b"*50000\r\n$100\r\nxxx")


def test_subscribing_to_several_channels_and_patterns(upstash: LocalUpstash) -> None:
    with connected(upstash) as channels, connected(upstash) as patterns:
        channels.sendall(raw_request(upstash, b"", line="GET /subscribe/a/b%20c HTTP/1.1"))
        patterns.sendall(raw_request(upstash, b"", line="POST /PSubscribe/a* HTTP/1.0"))
        assert b"content-type: text/event-stream" in _until(channels, b"data: subscribe,b c,2\n\n")
        _until(patterns, b"data: psubscribe,a*,1\n\n")
        client = Client(upstash)
        assert client.run("PUBLISH", "a", "line one\nline two") == 2
        _until(channels, b"data: message,a,line one\ndata: line two\n\n")
        _until(patterns, b"data: pmessage,a*,a,line one\ndata: line two\n\n")
        assert client.run("PUBLISH", "b c", "x" * 100_000) == 1
        _until(channels, b"x" * 100_000 + b"\n\n")
    assert _comes_true(lambda: Client(upstash).run("PUBSUB", "CHANNELS") == [])


def _until(client: Any, wanted: bytes) -> bytes:
    data = b""
    while wanted not in data:
        more = client.recv(65536)
        assert more, data[:500]
        data += more
    return data


def _comes_true(condition: Any) -> bool:
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(condition())


@pytest.mark.parametrize("path", ["/subscribe", "/psubscribe"])
def test_a_subscription_to_nothing(client: Client, path: str) -> None:
    status, body = client.ask(path, b"")
    assert status == 400
    assert "wrong number of arguments" in body["error"]


def test_a_server_that_stops_ends_its_subscriptions() -> None:
    with LocalUpstash() as upstash:
        reply = urllib3.request(
            "GET", f"{upstash.url}/subscribe/a?_token={upstash.token}", preload_content=False, retries=False
        )
        assert next(reply.stream()) == b"data: subscribe,a,1\n\n"
    assert b"".join(reply.stream()) == b""


def test_sync_tokens_of_others_are_passed_over(client: Client) -> None:
    for token in ("", "x", "AAAA", string.ascii_letters, "OjA=", "\xe9"):
        assert client.send("/", ["PING"], upstash_sync_token=token).status == 200
