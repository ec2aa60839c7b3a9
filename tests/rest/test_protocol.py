"""The protocol, with no I/O: batches become requests, replies become values or errors."""

from __future__ import annotations

import base64
import json
from typing import Any

import hiredis
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatstash.errors import (
    Applied,
    CommandRejected,
    DatabaseError,
    ProtocolError,
    WrongType,
)
from chatstash.rest.commands import KEY_LOCKING, Batch, Effect
from chatstash.rest.http.messages import HttpReply
from chatstash.rest.protocol import Forms, replies_from, request_for
from chatstash.rest.protocol.forms import ReplyFormatRefused, ScriptFlagsRefused
from chatstash.rest.secret import Secret

GET = Batch((("GET", "k"),))
TWO = Batch((("GET", "k"), ("INCR", "n")))
TRANSACTION = Batch((("LPUSH", "k", "v"), ("EXPIRE", "k", 60)), atomic=True, effect=Effect.WRITE)


def _reply(body: bytes, content_type: str = "application/json", status: int = 200, **headers: str) -> HttpReply:
    return HttpReply(status, {"content-type": content_type, **headers}, body)


def _read(batch: Batch, reply: HttpReply, *, resp2: bool = True) -> Any:
    return replies_from(batch, request_for(batch, forms=Forms(resp2=resp2)), reply)


@pytest.mark.parametrize(
    ("batch", "path", "body"),
    [
        (GET, "/", ["GET", "k"]),
        (TWO, "/pipeline", [["GET", "k"], ["INCR", "n"]]),
        (TRANSACTION, "/multi-exec", [["LPUSH", "k", "v"], ["EXPIRE", "k", 60]]),
        (Batch((("GET", "k"),), atomic=True), "/", ["GET", "k"]),
    ],
)
def test_where_a_batch_goes(batch: Batch, path: str, body: object) -> None:
    request = request_for(batch)
    assert request.path == path
    assert orjson.loads(request.body) == body


def test_resp2_is_asked_for_where_the_api_knows_it() -> None:
    assert request_for(GET).headers["upstash-response-format"] == "resp2"
    assert request_for(TWO).headers["upstash-response-format"] == "resp2"
    assert "upstash-response-format" not in request_for(TRANSACTION).headers
    assert request_for(TRANSACTION).headers["upstash-encoding"] == "base64"
    assert request_for(GET, forms=Forms(resp2=False)).headers["upstash-encoding"] == "base64"
    for batch in (GET, TWO, TRANSACTION):
        headers = request_for(batch).headers
        assert ("upstash-encoding" in headers) != ("upstash-response-format" in headers)


def test_the_sync_token_goes_with_the_request() -> None:
    assert request_for(GET, sync_token="abc").headers["upstash-sync-token"] == "abc"
    assert "upstash-sync-token" not in request_for(GET).headers


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"$3\r\nbar\r\n", b"bar"),
        (b"$-1\r\n", None),
        (b":7\r\n", 7),
        (b"+OK\r\n", b"OK"),
        (b"*0\r\n", []),
        (b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n", [b"a", [1]]),
    ],
)
def test_resp2(body: bytes, value: object) -> None:
    assert _read(GET, _reply(body, "application/octet-stream")) == (value,)


def test_resp2_of_several_commands_one_after_the_other_or_in_an_array() -> None:
    for body in (b"$1\r\na\r\n:1\r\n", b"*2\r\n$1\r\na\r\n:1\r\n"):
        assert _read(TWO, _reply(body, "application/octet-stream")) == (b"a", 1)
    mixed = b"$1\r\na\r\n-WRONGTYPE no\r\n"
    value, failure = _read(TWO, _reply(mixed, "application/octet-stream"))
    assert value == b"a"
    assert isinstance(failure, WrongType)


@pytest.mark.parametrize(
    ("result", "value"),
    [("bar", b"bar"), (None, None), (7, 7), (1.5, b"1.5"), (["a", None, [1]], [b"a", None, [1]]), ("é", "é".encode())],
)
def test_plain_json(result: object, value: object) -> None:
    assert _read(GET, _reply(orjson.dumps({"result": result}))) == (value,)


def test_base64_json() -> None:
    encoded = base64.b64encode(b"\xff\x00").decode()
    body = orjson.dumps({"result": [encoded, "OK", None, 3]})
    assert _read(GET, _reply(body), resp2=False) == ([b"\xff\x00", b"OK", None, 3],)


def test_base64_that_was_asked_for_and_not_given() -> None:
    body = orjson.dumps({"result": ['{"type":"human"}', "OK"]})
    assert _read(GET, _reply(body), resp2=False) == ([b'{"type":"human"}', b"OK"],)


def test_a_failed_command_of_several_is_a_value() -> None:
    body = b'[{"error":"WRONGTYPE no"},{"result":1}]'
    failure, value = _read(TRANSACTION, _reply(body))
    assert value == 1
    assert isinstance(failure, WrongType)
    assert (failure.server_text, failure.applied) == ("WRONGTYPE no", Applied.NO)


def test_the_token_is_taken_out_of_every_text() -> None:
    body = b'[{"error":"ERR no luck with hunter2"},{"result":1}]'
    failure, _ = replies_from(TRANSACTION, request_for(TRANSACTION), _reply(body), token=Secret("hunter2"))
    assert isinstance(failure, CommandRejected)
    assert "hunter2" not in str(failure)


@pytest.mark.parametrize("body", [b'{"result":1}', b'{"result":1,"error":null}', b'{"result":1,"error":7}'])
def test_one_result_is_no_reply_to_two_commands(body: bytes) -> None:
    with pytest.raises(ProtocolError, match="one reply for each command"):
        _read(TWO, _reply(body))


@pytest.mark.parametrize("batch", [GET, TWO, TRANSACTION])
def test_one_error_object_refuses_the_whole_batch(batch: Batch) -> None:
    with pytest.raises(CommandRejected, match="discarded"):
        _read(batch, _reply(b'{"error":"ERR discarded"}', status=400))
    with pytest.raises(CommandRejected, match="discarded"):
        _read(batch, _reply(b"-ERR discarded\r\n", "application/octet-stream", status=400))


def test_a_refused_format_is_told_apart() -> None:
    with pytest.raises(ReplyFormatRefused):
        _read(GET, _reply(b'{"error":"Unsupported Upstash-Response-Format"}', status=400))


BROKEN = [
    (b"", "application/json"),
    (b"null", "application/json"),
    (b"[]", "application/json"),
    (b'{"res', "application/json"),
    (b'{"other":1}', "application/json"),
    (b'{"result":{"a":1}}', "application/json"),
    (b'[{"result":1}]', "application/json"),
    (b'{"error":7}', "application/json"),
    (b"<html>", "text/html"),
    (b"$5\r\nab", "application/octet-stream"),
    (b"", "application/octet-stream"),
    (b":1\r\n:2\r\n", "application/octet-stream"),
    (b"hello", "application/octet-stream"),
    (b"*1\r\n" * 100, "application/octet-stream"),
]


@pytest.mark.parametrize(("body", "content_type"), BROKEN)
def test_a_body_that_is_none_of_the_api(body: bytes, content_type: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        _read(GET, _reply(body, content_type))
    assert caught.value.applied is Applied.UNKNOWN
    with pytest.raises(ProtocolError) as caught:
        _read(GET, _reply(body, content_type, status=404))
    assert caught.value.applied is Applied.NO


@given(st.binary(max_size=200), st.sampled_from(["application/json", "application/octet-stream", "text/html", ""]))
def test_whatever_the_body_nothing_but_the_tree_is_raised(body: bytes, content_type: str) -> None:
    for batch in (GET, TWO, TRANSACTION):
        try:
            values = _read(batch, _reply(body, content_type))
        except DatabaseError as error:
            assert str(error)
        else:
            assert len(values) == len(batch.commands)


@given(st.integers(100, 599), st.text(max_size=300))
def test_whatever_the_status_and_text_the_error_is_one_line(status: int, text: str) -> None:
    try:
        _read(TRANSACTION, _reply(orjson.dumps({"error": text}, default=str), status=status))
    except DatabaseError as error:
        assert error.status == status
        assert "\n" not in str(error)
        assert len(str(error)) < 1000


_REPLIES = st.recursive(
    st.none() | st.binary(max_size=10) | st.integers(-(2**63), 2**63 - 1),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


@given(_REPLIES)
def test_resp2_round_trip(value: Any) -> None:
    assert _read(GET, _reply(_resp2(value), "application/octet-stream")) == (value,)


def _resp2(value: Any) -> bytes:
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, list):
        return b"*%d\r\n" % len(value) + b"".join(map(_resp2, value))
    return bytes(hiredis.pack_command((value,))).split(b"\r\n", 1)[1]


def test_script_flags_are_left_out_where_the_server_does_not_know_them() -> None:
    batch = Batch((("EVAL", f"{KEY_LOCKING}return 1", 0),))
    assert b"allow-key-locking" in request_for(batch).body
    assert request_for(batch, forms=Forms(script_flags=False)).body == b'["EVAL","return 1",0]'


@pytest.mark.parametrize(
    "text",
    [
        "ERR Unexpected flag in script shebang: allow-key-locking",
        "ERR Error compiling script (new function): user_script:1: unexpected symbol near '#'",
    ],
)
def test_refused_script_flags_are_told_apart(text: str) -> None:
    with pytest.raises(ScriptFlagsRefused):
        _read(GET, _reply(json.dumps({"error": text}).encode(), status=400))


def _listed(*elements: bytes) -> HttpReply:
    body = b"*%d\r\n" % len(elements) + b"".join(b"$%d\r\n%b\r\n" % (len(one), one) for one in elements)
    return _reply(body, "application/octet-stream")


@pytest.mark.parametrize("kind", [b"*", b"~", b">", b"%", b"|"])
@pytest.mark.parametrize("count", [b"1", b"9999999"])
def test_text_that_looks_like_structure_is_text(kind: bytes, count: bytes) -> None:
    looks_nested = (b"\r\n" + kind + count) * 40 + b"\r\n"
    assert _read(GET, _listed(b"before", looks_nested, b"", looks_nested)) == (
        [b"before", looks_nested, b"", looks_nested],
    )


def _nested(depth: int, before: bytes = b"") -> bytes:
    elements = 1 + bool(before)
    return (b"*%d\r\n" % elements + before) * depth + b":1\r\n"


@pytest.mark.parametrize("before", [b"", b":7\r\n", b"$2\r\n\r\n\r\n", b"*0\r\n", b"*-1\r\n", b"$-1\r\n"])
def test_nesting_is_bounded_as_it_is_parsed(before: bytes) -> None:
    kind = "application/octet-stream"
    assert len(_read(GET, _reply(_nested(8, before), kind))) == 1
    for depth in (40, 5000):
        with pytest.raises(ProtocolError, match="nested too deeply"):
            _read(GET, _reply(_nested(depth, before), kind))


def test_many_arrays_beside_each_other_are_not_nested() -> None:
    body = b"*1000\r\n" + b"*1\r\n:1\r\n" * 1000
    assert _read(GET, _reply(body, "application/octet-stream")) == ([[1]] * 1000,)


def test_a_length_that_is_none_is_not_quoted() -> None:
    with pytest.raises(ProtocolError) as caught:
        _read(GET, _reply(b"*1234567\r\n$abc\r\n", "application/octet-stream"))
    assert "abc" not in caught.value.problem
