"""A history whose server or network misbehaves, in both colours; a bare socket plays the faults."""

from __future__ import annotations

import base64
import gzip
import json
import socket
from collections.abc import Callable

import pytest
from langchain_core.messages import HumanMessage

from chatstash import (
    Applied,
    ConnectionFailed,
    DatabaseError,
    OutcomeUnknown,
    OutcomeUnknownAfterBadReply,
    OutcomeUnknownAfterConnectionLoss,
    OutcomeUnknownAfterGatewayError,
    OutcomeUnknownAfterTimeout,
    ProtocolError,
    RateLimited,
    UpstashRedisChatMessageHistory,
)
from tests.conftest import Call, call_sync
from tests.faulty import Exchange, FaultyServer, full_listener

Start = Callable[..., FaultyServer]
Failure = Callable[[Exchange], None]
ONE = [HumanMessage("x")]


def _history(server: FaultyServer, **options: object) -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory("s", server.url, "secret-token", **{"retries": 0, **options})


def _error(call: Call, history: UpstashRedisChatMessageHistory, name: str = "add_messages") -> DatabaseError:
    with pytest.raises(DatabaseError) as caught:
        call(history, name, *([ONE] if name == "add_messages" else []))
    assert "secret-token" not in f"{caught.value}{caught.value!r}{caught.getrepr(showlocals=True, style='long')}"
    return caught.value


def _hang_up(exchange: Exchange) -> None:
    exchange.hang_up()


def _cut_off(exchange: Exchange) -> None:
    exchange.send(b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"res')
    exchange.hang_up()


def _not_http(exchange: Exchange) -> None:
    exchange.send(b"220 smtp.example.com ESMTP\r\n")
    exchange.hang_up()


def _gateway_error(exchange: Exchange) -> None:
    exchange.reply(b"<h1>no luck</h1>", "503 Service Unavailable", "text/html")


def _compressed(exchange: Exchange) -> None:
    exchange.reply(gzip.compress(b'{"result": 1}'), headers="content-encoding: gzip\r\n")


def _empty(exchange: Exchange) -> None:
    exchange.reply(b'{"result": []}')


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (_hang_up, OutcomeUnknownAfterConnectionLoss),
        (_cut_off, OutcomeUnknownAfterConnectionLoss),
        (_not_http, OutcomeUnknownAfterConnectionLoss),
        (_gateway_error, OutcomeUnknownAfterGatewayError),
        (_compressed, OutcomeUnknownAfterBadReply),
    ],
)
def test_a_write_without_a_valid_reply(faulty: Start, call: Call, failure: Failure, kind: type[DatabaseError]) -> None:
    server = faulty(failure)
    error = _error(call, _history(server))
    assert type(error) is kind
    assert error.applied is Applied.UNKNOWN
    assert len(server.requests) == 1


def test_a_write_that_is_never_answered(faulty: Start, call: Call) -> None:
    server = faulty(lambda exchange: exchange.wait(600))
    assert type(_error(call, _history(server, timeout=1.0))) is OutcomeUnknownAfterTimeout


def test_a_server_that_is_down(call: Call) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        history = UpstashRedisChatMessageHistory("s", f"http://127.0.0.1:{taken.getsockname()[1]}", "t", retries=0)
        error = _error(call, history)
    assert type(error) is ConnectionFailed
    assert error.applied is Applied.NO


def _failing_first(times: int, failure: Failure, reply: bytes) -> Failure:
    left = [times]

    def handler(exchange: Exchange) -> None:
        left[0] -= 1
        failure(exchange) if left[0] >= 0 else exchange.reply(reply)

    return handler


@pytest.mark.parametrize("failure", [_hang_up, _cut_off, _gateway_error])
def test_a_read_is_retried(faulty: Start, call: Call, failure: Failure) -> None:
    server = faulty(_failing_first(2, failure, b'{"result": []}'))
    result = call(_history(server, retries=3), "read")
    assert result.messages == []
    assert result.cost.requests == len(server.requests) == 3


def test_a_write_that_was_refused_is_retried_as_it_is(faulty: Start, call: Call) -> None:
    server = faulty(_failing_first(1, lambda e: e.reply(b"", "408 Request Timeout"), b'{"result": 1}'))
    call(_history(server, retries=1), "add_messages", ONE)
    first, again = server.requests
    assert first == again


def test_a_pause_beyond_the_deadline_is_not_taken(faulty: Start, call: Call) -> None:
    server = faulty(lambda e: e.reply(b"{}", "429 Too Many Requests", headers="retry-after: 600\r\n"))
    assert isinstance(_error(call, _history(server, retries=3, timeout=60), "messages"), RateLimited)
    assert len(server.requests) == 1


@pytest.mark.parametrize("failure", [_hang_up, _cut_off])
def test_a_write_of_unknown_outcome_is_not_retried_but_settled(faulty: Start, call: Call, failure: Failure) -> None:
    server = faulty(failure)
    assert isinstance(_error(call, _history(server, retries=3)), OutcomeUnknown)
    first, *later = server.requests
    assert b"EVAL" not in first
    assert len(later) == 3
    assert all(b"EVAL" in request for request in later)


def test_after_a_fault_the_same_object_works_again(faulty: Start, call: Call) -> None:
    history = _history(faulty(_failing_first(1, _hang_up, b'{"result": []}')))
    _error(call, history, "messages")
    assert call(history, "messages") == []


def test_a_server_that_refuses_resp2_is_asked_for_base64_from_then_on(faulty: Start, call: Call) -> None:
    record = base64.b64encode(b'{"type":"human","data":{"content":"hi"}}')

    def handler(exchange: Exchange) -> None:
        if b"resp2" in exchange.request.lower():
            exchange.reply(b'{"error": "Upstash-Response-Format resp2 is not supported"}', "400 Bad Request")
        else:
            exchange.reply(b'{"result": ["%b"]}' % record)

    server = faulty(handler)
    history = _history(server)
    assert call(history, "messages") == call(history, "messages") == [HumanMessage("hi")]
    assert len(server.requests) == 3
    assert b"upstash-encoding: base64" in server.requests[1].lower()


def test_a_large_request_that_the_server_does_not_read_ends_at_the_deadline(call: Call) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        history = UpstashRedisChatMessageHistory("s", url, "t", timeout=1, retries=0)
        with pytest.raises(TimeoutError):
            call(history, "add_messages", [HumanMessage("x" * 9_000_000)])


@pytest.mark.parametrize(
    ("name", "result", "kind"),
    [
        ("add_messages", "2", OutcomeUnknownAfterBadReply),
        ("add_messages", None, OutcomeUnknownAfterBadReply),
        ("messages", 7, ProtocolError),
    ],
)
def test_a_reply_of_another_type(faulty: Start, name: str, result: object, kind: type[DatabaseError]) -> None:
    server = faulty(lambda exchange: exchange.reply(json.dumps({"result": result}).encode()))
    assert type(_error(call_sync, _history(server), name)) is kind


def test_a_sync_token_that_cannot_be_sent_back_is_not_kept(faulty: Start) -> None:
    tokens = iter(["good-1", "b\u00e4d", ""])
    server = faulty(lambda e: e.reply(b'{"result": []}', headers=f"upstash-sync-token: {next(tokens)}\r\n"))
    history = _history(server)
    for _ in range(3):
        assert history.messages == []
    sent = [b"upstash-sync-token: good-1" in request.lower() for request in server.requests]
    assert sent == [False, True, True]


def test_the_deadline_bounds_a_host_with_many_addresses(monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    with full_listener() as port:
        found = [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))] * 4
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: found)
        history = UpstashRedisChatMessageHistory("s", f"http://many.localhost:{port}", "t", timeout=1, retries=0)
        with pytest.raises(TimeoutError) as caught:
            call(history, "add_messages", ONE)
        assert not isinstance(caught.value, OutcomeUnknown)
