"""Which error a refusal becomes, and that nothing but the error tree is raised, whatever the body."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatstash.errors import (
    Applied,
    BadCredentials,
    CommandRejected,
    DatabaseError,
    GatewayError,
    ProtocolError,
    QuotaExceeded,
    RateLimited,
    ReadOnlyToken,
    RequestTooLarge,
    ServerError,
)
from chatstash.rest.commands import Batch, Effect
from chatstash.rest.protocol import replies_from, request_for
from chatstash.rest.protocol.requests import DigestRefused, ReplyFormatRefused, ScriptFlagsRefused, ScriptMissing
from chatstash.rest.secret import Secret
from tests.rest.protocol.replying import GET, RESP2, TRANSACTION, TWO, read, reply


@pytest.mark.parametrize(
    ("text", "status", "kind"),
    [
        ("WRONGPASS invalid or missing auth token", 401, BadCredentials),
        ("NOPERM this user has no permissions to run the 'lpush' command", 400, ReadOnlyToken),
        ("ERR max request size exceeded. Limit: 10485760 bytes, Actual: 1", 400, RequestTooLarge),
        ("ERR max single record size exceeded", 400, RequestTooLarge),
        ("ERR DB capacity quota exceeded", 400, QuotaExceeded),
        ("ERR max daily request limit exceeded", 400, QuotaExceeded),
        ("ERR max requests limit exceeded", 429, QuotaExceeded),
        ("ERR slow down", 429, RateLimited),
        ("ERR something new", 400, CommandRejected),
        ("NOSCRIPT No matching script. Please use EVAL.", 400, ScriptMissing),
        ("ERR unknown command 'EVALSHA_RO', with args beginning with: 'abc'", 400, DigestRefused),
        ("NOPERM this user has no permissions to run the 'evalsha' command", 400, DigestRefused),
        ("LOADING Redis is loading the dataset in memory", 400, ServerError),
        ("Unsupported Upstash-Response-Format", 400, ReplyFormatRefused),
        ("ERR Unexpected flag in script shebang: allow-key-locking", 400, ScriptFlagsRefused),
        ("ERR Error compiling script: user_script:1: unexpected symbol near '#'", 400, ScriptFlagsRefused),
    ],
)
def test_refusals_by_the_database(text: str, status: int, kind: type[DatabaseError]) -> None:
    with pytest.raises(DatabaseError) as caught:
        read(GET, reply(json.dumps({"error": text}).encode(), status=status))
    assert type(caught.value) is kind
    assert (caught.value.applied, caught.value.server_text) == (Applied.NO, text)
    assert text in str(caught.value)


@pytest.mark.parametrize("effect", [Effect.READ, Effect.IDEMPOTENT])
def test_a_form_that_one_command_had_is_refused_for_all(effect: Effect) -> None:
    body = json.dumps([{"result": 1}, {"error": "NOSCRIPT No matching script. Please use EVAL."}]).encode()
    with pytest.raises(ScriptMissing):
        read(Batch(TWO.commands, effect=effect), reply(body))


@pytest.mark.parametrize(("effect", "atomic"), [(Effect.WRITE, False), (Effect.IDEMPOTENT, True)])
def test_commands_that_may_not_run_twice_are_not_refused_for_one(effect: Effect, atomic: bool) -> None:
    body = json.dumps([{"result": "MQ=="}, {"error": "ERR Unexpected flag in script shebang: x"}]).encode()
    _, refused = read(Batch(TWO.commands, atomic, effect), reply(body), resp2=False)
    assert type(refused) is ScriptFlagsRefused


@pytest.mark.parametrize(
    ("status", "kind", "applied"),
    [
        (200, ProtocolError, Applied.UNKNOWN),
        (307, ProtocolError, Applied.NO),
        (401, BadCredentials, Applied.NO),
        (404, ProtocolError, Applied.NO),
        (408, GatewayError, Applied.NO),
        (413, RequestTooLarge, Applied.NO),
        (429, RateLimited, Applied.NO),
        (503, GatewayError, Applied.UNKNOWN),
    ],
)
def test_pages_of_something_else(status: int, kind: type[DatabaseError], applied: Applied) -> None:
    with pytest.raises(DatabaseError) as caught:
        read(GET, reply(b"<!doctype html><title>Please log in</title>", "text/html", status))
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.applied) == (status, applied)
    assert status == 307 or "Please log in" in str(caught.value)


def test_a_server_error_in_json_leaves_a_write_unknown() -> None:
    with pytest.raises(ServerError) as caught:
        read(GET, reply(b'{"error": "ERR internal"}', status=500))
    assert caught.value.applied is Applied.UNKNOWN


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("9" * 400, 10.0**9), ("-1", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None)]
)
def test_the_time_that_a_server_asks_to_wait(header: str, seconds: float | None) -> None:
    with pytest.raises(RateLimited) as caught:
        read(GET, reply(b"{}", status=429, **{"retry-after": header}))
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("status", [300, 302, 399])
def test_redirects(status: int) -> None:
    with pytest.raises(ProtocolError, match="redirects"):
        read(GET, reply(b'{"result":1}', status=status))


@pytest.mark.parametrize("batch", [GET, TWO, TRANSACTION])
def test_one_error_refuses_the_whole_batch(batch: Batch) -> None:
    for answer in (reply(b'{"error":"ERR discarded"}', status=400), reply(b"-ERR discarded\r\n", RESP2, 400)):
        with pytest.raises(CommandRejected, match="discarded"):
            read(batch, answer)


BROKEN = [
    (b"", "application/json"),
    (b"null", "application/json"),
    (b"[]", "application/json"),
    (b'{"res', "application/json"),
    (b'{"other":1}', "application/json"),
    (b'{"result":{"a":1}}', "application/json"),
    (b'[{"result":1}]', "application/json"),
    (b'{"error":7}', "application/json"),
    (b"$5\r\nab", RESP2),
    (b"", RESP2),
    (b":1\r\n:2\r\n", RESP2),
    (b"hello", RESP2),
    (b"*1\r\n" * 100, RESP2),
]


@pytest.mark.parametrize(("body", "content_type"), BROKEN)
def test_a_body_that_does_not_follow_the_api(body: bytes, content_type: str) -> None:
    with pytest.raises(ProtocolError):
        read(GET, reply(body, content_type))


@given(st.binary(max_size=200), st.sampled_from(["application/json", RESP2, ""]))
def test_whatever_the_body_nothing_but_the_tree_is_raised(body: bytes, content_type: str) -> None:
    for batch in (GET, TWO, TRANSACTION):
        try:
            values = read(batch, reply(body, content_type))
        except DatabaseError as error:
            assert str(error)
        else:
            assert len(values) == len(batch.commands)


@given(st.integers(100, 599), st.text(max_size=300))
def test_whatever_the_text_the_error_is_one_short_line(status: int, text: str) -> None:
    try:
        read(TRANSACTION, reply(orjson.dumps({"error": text}), status=status))
    except DatabaseError as error:
        assert error.status == status
        assert "\n" not in str(error)
        assert len(str(error)) < 1000


@pytest.mark.parametrize("spaces", [0, 100, 190, 780, 3990])
def test_the_token_is_redacted_wherever_the_text_is_cut(spaces: int) -> None:
    body = b"x" * 100 + b" " * spaces + b"secret-token and more"
    with pytest.raises(GatewayError) as caught:
        replies_from(GET, request_for(GET), reply(body, "text/plain", 502), token=Secret("secret-token"))
    assert "secret" not in str(caught.value)


def test_the_token_is_redacted_in_the_error_of_one_command() -> None:
    body = b'[{"error":"ERR no luck with hunter2"},{"result":1}]'
    failure, _ = replies_from(TRANSACTION, request_for(TRANSACTION), reply(body), token=Secret("hunter2"))
    assert isinstance(failure, CommandRejected)
    assert "hunter2" not in str(failure)
