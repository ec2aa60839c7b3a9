"""What a history does when server or network misbehave, for both colours; a bare socket plays the faults."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import time
from collections.abc import Callable

import pytest
from langchain_core.messages import HumanMessage

from chatstash import (
    Applied,
    BadCredentials,
    CommandRejected,
    ConnectionFailed,
    DatabaseError,
    GatewayError,
    OutcomeUnknown,
    OutcomeUnknownAfterBadReply,
    OutcomeUnknownAfterConnectionLoss,
    OutcomeUnknownAfterGatewayError,
    OutcomeUnknownAfterServerError,
    OutcomeUnknownAfterTimeout,
    ProtocolError,
    QuotaExceeded,
    RateLimited,
    ReadOnlyToken,
    RequestTimeout,
    RequestTooLarge,
    ServerError,
    UpstashRedisChatMessageHistory,
)
from tests.conftest import Call
from tests.faulty import Exchange, FaultyServer, full_listener

Start = Callable[..., FaultyServer]
HTML = b"<!doctype html><title>Please log in</title>"
ONE = [HumanMessage("x")]


def _history(server: FaultyServer, **options: object) -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory("s", server.url, "secret-token", **{"timeout": 60.0, "retries": 0, **options})


def _outcome(call: Call, history: UpstashRedisChatMessageHistory, name: str) -> DatabaseError:
    with pytest.raises(DatabaseError) as caught:
        call(history, name, *([ONE] if name == "add_messages" else []))
    assert "secret-token" not in f"{caught.value}{caught.value!r}{caught.getrepr(showlocals=True, style='long')}"
    return caught.value


def _never_answer(exchange: Exchange) -> None:
    exchange.wait(30)


def _drip_body(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n")
    exchange.drip(b"[" + b" " * 998 + b"]", 0.2)


def _drip_head(exchange: Exchange) -> None:
    exchange.drip(b"HTTP/1.1 200 OK\r\n" + b"x-filler: 1\r\n" * 50, 0.2)


def _hang_up(exchange: Exchange) -> None:
    exchange.hang_up()


def _cut_off(exchange: Exchange) -> None:
    exchange.send(b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"res')
    exchange.hang_up()


def _not_http(exchange: Exchange) -> None:
    exchange.send(b"220 smtp.example.com ESMTP\r\n")
    exchange.hang_up()


@pytest.mark.parametrize("handler", [_never_answer, _drip_body, _drip_head])
@pytest.mark.parametrize(("name", "kind"), [("messages", RequestTimeout), ("add_messages", OutcomeUnknownAfterTimeout)])
def test_the_deadline_ends_a_reply_that_does_not_come(
    faulty: Start, call: Call, handler: Callable[[Exchange], None], name: str, kind: type[DatabaseError]
) -> None:
    error = _outcome(call, _history(faulty(handler), timeout=0.5), name)
    assert isinstance(error, kind)
    assert isinstance(error, TimeoutError)


@pytest.mark.parametrize("handler", [_hang_up, _cut_off, _not_http])
@pytest.mark.parametrize(
    ("name", "kind", "applied"),
    [
        ("messages", ConnectionFailed, Applied.NO),
        ("add_messages", OutcomeUnknownAfterConnectionLoss, Applied.UNKNOWN),
    ],
)
def test_a_connection_that_breaks(
    faulty: Start,
    call: Call,
    handler: Callable[[Exchange], None],
    name: str,
    kind: type[DatabaseError],
    applied: Applied,
) -> None:
    server = faulty(handler)
    error = _outcome(call, _history(server), name)
    assert isinstance(error, kind)
    assert isinstance(error, ConnectionError)
    assert error.applied is applied
    assert len(server.requests) == 1


@pytest.mark.parametrize("name", ["messages", "add_messages", "clear"])
def test_a_server_that_is_down(call: Call, name: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        history = UpstashRedisChatMessageHistory("s", f"http://127.0.0.1:{taken.getsockname()[1]}", "t", timeout=2)
        error = _outcome(call, history, name)
    assert isinstance(error, ConnectionFailed)
    assert error.applied is Applied.NO
    assert not isinstance(error, OutcomeUnknown)


@pytest.mark.parametrize(
    ("status", "name", "kind"),
    [
        ("200 OK", "messages", ProtocolError),
        ("200 OK", "add_messages", OutcomeUnknownAfterBadReply),
        ("404 Not Found", "add_messages", ProtocolError),
        ("503 Service Unavailable", "messages", GatewayError),
        ("503 Service Unavailable", "add_messages", OutcomeUnknownAfterGatewayError),
        ("401 Unauthorized", "add_messages", BadCredentials),
        ("429 Too Many Requests", "add_messages", RateLimited),
        ("408 Request Timeout", "add_messages", GatewayError),
        ("413 Content Too Large", "add_messages", RequestTooLarge),
    ],
)
def test_a_server_that_answers_html(
    faulty: Start, call: Call, status: str, name: str, kind: type[DatabaseError]
) -> None:
    error = _outcome(call, _history(faulty(lambda exchange: exchange.reply(HTML, status, "text/html"))), name)
    assert type(error) is kind
    assert error.status == int(status[:3])
    assert error.server_text is not None
    assert "Please log in" in error.server_text


@pytest.mark.parametrize(
    ("text", "status", "kind"),
    [
        ("WRONGPASS invalid or missing auth token", "401 Unauthorized", BadCredentials),
        ("NOPERM this user has no permissions to run the 'lpush' command", "400 Bad Request", ReadOnlyToken),
        ("ERR max request size exceeded. Limit: 10485760 bytes, Actual: 1", "400 Bad Request", RequestTooLarge),
        ("ERR max single record size exceeded", "400 Bad Request", RequestTooLarge),
        ("ERR DB capacity quota exceeded", "400 Bad Request", QuotaExceeded),
        ("ERR max daily request limit exceeded", "400 Bad Request", QuotaExceeded),
        ("ERR max requests limit exceeded", "429 Too Many Requests", QuotaExceeded),
        ("ERR slow down", "429 Too Many Requests", RateLimited),
        ("ERR something new", "400 Bad Request", CommandRejected),
        ("LOADING Redis is loading the dataset in memory", "400 Bad Request", ServerError),
    ],
)
def test_refusals_are_errors_of_their_own(
    faulty: Start, call: Call, text: str, status: str, kind: type[DatabaseError]
) -> None:
    body = b'{"error": "%b"}' % text.encode()
    error = _outcome(call, _history(faulty(lambda exchange: exchange.reply(body, status))), "add_messages")
    assert type(error) is kind
    assert error.applied is Applied.NO
    assert error.server_text == text
    assert text in str(error)


def test_a_server_error_in_json_leaves_a_write_unknown(faulty: Start, call: Call) -> None:
    server = faulty(lambda exchange: exchange.reply(b'{"error": "ERR internal"}', "500 Internal Server Error"))
    assert type(_outcome(call, _history(server), "messages")) is ServerError
    assert type(_outcome(call, _history(server), "add_messages")) is OutcomeUnknownAfterServerError


def test_the_token_is_taken_out_of_what_the_server_says(faulty: Start, call: Call) -> None:
    server = faulty(lambda exchange: exchange.reply(exchange.request[:400], "502 Bad Gateway", "text/plain"))
    error = _outcome(call, _history(server), "messages")
    assert "Bearer ***" in str(error)


def test_a_redirect_is_not_followed(faulty: Start, call: Call) -> None:
    other = faulty(lambda exchange: exchange.reply(b'{"result": []}'))
    location = f"location: {other.url}/\r\n"
    server = faulty(lambda exchange: exchange.reply(b"", "307 Temporary Redirect", headers=location))
    assert isinstance(_outcome(call, _history(server), "messages"), ProtocolError)
    assert other.requests == []


def _failing_first(times: int, failure: Callable[[Exchange], None], reply: bytes) -> Callable[[Exchange], None]:
    left = [times]

    def handler(exchange: Exchange) -> None:
        left[0] -= 1
        failure(exchange) if left[0] >= 0 else exchange.reply(reply)

    return handler


@pytest.mark.parametrize(
    "failure", [_hang_up, _cut_off, lambda e: e.reply(HTML, "503 Service Unavailable", "text/html")]
)
def test_a_read_is_tried_again(faulty: Start, call: Call, failure: Callable[[Exchange], None]) -> None:
    server = faulty(_failing_first(2, failure, b'{"result": []}'))
    result = call(_history(server, retries=3, timeout=60), "read")
    assert result.messages == []
    assert result.cost.requests == len(server.requests) == 3


def test_a_write_refused_for_its_rate_is_sent_again_after_the_time_asked_for(faulty: Start, call: Call) -> None:
    busy = "429 Too Many Requests"
    server = faulty(_failing_first(1, lambda e: e.reply(b"{}", busy, headers="retry-after: 1\r\n"), b'{"result": 1}'))
    began = time.monotonic()
    call(_history(server, retries=1, timeout=60), "add_messages", ONE)
    assert time.monotonic() - began >= 1
    assert len(server.requests) == 2


def test_a_request_that_a_proxy_did_not_wait_for_is_sent_again(faulty: Start, call: Call) -> None:
    slow = "408 Request Timeout"
    server = faulty(_failing_first(1, lambda e: e.reply(b"", slow), b'{"result": 1}'))
    call(_history(server, retries=1, timeout=60), "add_messages", ONE)
    first, again = server.requests
    assert first == again


def test_a_pause_beyond_the_deadline_is_not_taken(faulty: Start, call: Call) -> None:
    server = faulty(lambda e: e.reply(b"{}", "429 Too Many Requests", headers="retry-after: 600\r\n"))
    assert isinstance(_outcome(call, _history(server, retries=3, timeout=5), "messages"), RateLimited)
    assert len(server.requests) == 1


@pytest.mark.parametrize("failure", [_hang_up, _cut_off, _never_answer])
def test_a_write_of_unknown_outcome_is_not_sent_again_but_settled(
    faulty: Start, call: Call, failure: Callable[[Exchange], None]
) -> None:
    server = faulty(failure)
    history = _history(server, retries=3, timeout=1.0 if failure is _never_answer else 60.0)
    assert isinstance(_outcome(call, history, "add_messages"), OutcomeUnknown)
    first, *later = server.requests
    assert b"EVAL" not in first
    assert later
    assert all(b"EVAL" in request for request in later)


def test_after_a_fault_the_same_object_works_again(faulty: Start, call: Call) -> None:
    server = faulty(_failing_first(1, _hang_up, b'{"result": []}'))
    history = _history(server)
    _outcome(call, history, "messages")
    assert call(history, "messages") == []


RECORD = b'{"type":"human","data":{"content":"hi"}}'


def _json(exchange: Exchange) -> None:
    exchange.reply(b'{"result": ["%b"]}' % RECORD.replace(b'"', b'\\"'))


def _base64(exchange: Exchange) -> None:
    exchange.reply(b'{"result": ["%b"]}' % base64.b64encode(RECORD))


def _resp2(exchange: Exchange) -> None:
    body = b"*1\r\n$%d\r\n%b\r\n" % (len(RECORD), RECORD)
    exchange.reply(body, content_type="application/octet-stream")


@pytest.mark.parametrize("encoding", [_json, _resp2])
def test_the_reply_is_read_by_its_content_type(faulty: Start, call: Call, encoding: Callable[[Exchange], None]) -> None:
    server = faulty(encoding)
    assert call(_history(server), "messages") == [HumanMessage("hi")]
    assert b"resp2" in server.requests[0].lower()


@pytest.mark.parametrize("encoding", [_json, _base64])
def test_a_server_that_refuses_resp2_is_asked_for_base64_from_then_on(
    faulty: Start, call: Call, encoding: Callable[[Exchange], None]
) -> None:
    def handler(exchange: Exchange) -> None:
        if b"resp2" in exchange.request.lower():
            exchange.reply(b'{"error": "Upstash-Response-Format resp2 is not supported"}', "400 Bad Request")
        else:
            encoding(exchange)

    server = faulty(handler)
    history = _history(server)
    assert call(history, "messages") == [HumanMessage("hi")]
    assert call(history, "messages") == [HumanMessage("hi")]
    assert len(server.requests) == 3
    assert b"upstash-encoding: base64" in server.requests[1].lower()


def test_a_large_body_that_is_not_taken_in_ends_at_the_deadline(call: Call) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        history = UpstashRedisChatMessageHistory(
            "s", f"http://127.0.0.1:{listener.getsockname()[1]}", "t", timeout=1, retries=0
        )
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            call(history, "add_messages", [HumanMessage("x" * 9_000_000)])
        assert time.monotonic() - began < 20


def test_no_compression_is_asked_for(faulty: Start, call: Call) -> None:
    server = faulty(lambda exchange: exchange.reply(b'{"result": []}'))
    call(_history(server), "messages")
    assert b"accept-encoding: identity" in server.requests[0].lower()


@pytest.mark.parametrize(("name", "kind"), [("messages", ProtocolError), ("add_messages", OutcomeUnknownAfterBadReply)])
def test_compression_that_was_not_asked_for_is_refused(
    faulty: Start, call: Call, name: str, kind: type[DatabaseError]
) -> None:
    body = gzip.compress(b'{"result": []}')
    server = faulty(lambda exchange: exchange.reply(body, headers="content-encoding: gzip\r\n"))
    assert type(_outcome(call, _history(server), name)) is kind


@pytest.mark.parametrize("result", ["2", None, [1], "OK"])
@pytest.mark.parametrize(("name", "kind"), [("add_messages", OutcomeUnknownAfterBadReply), ("messages", ProtocolError)])
def test_a_reply_of_another_kind(
    faulty: Start, call: Call, result: object, name: str, kind: type[DatabaseError]
) -> None:
    given = {"result": result} if name == "add_messages" else {"result": 7}
    server = faulty(lambda exchange: exchange.reply(json.dumps(given).encode()))
    assert type(_outcome(call, _history(server), name)) is kind


def test_a_sync_token_that_could_not_be_sent_back_is_not_kept(faulty: Start, call: Call) -> None:
    tokens = iter(["good-1", "b\u00e4d", ""])
    server = faulty(lambda e: e.reply(b'{"result": []}', headers=f"upstash-sync-token: {next(tokens)}\r\n"))
    history = _history(server)
    for _ in range(3):
        call(history, "messages")
    sent = [b"upstash-sync-token: good-1" in request.lower() for request in server.requests]
    assert sent == [False, True, True]


def test_the_token_is_taken_out_wherever_the_text_is_cut(faulty: Start, call: Call) -> None:
    for spaces in (100, 190, 780, 3990):
        body = b"x" * 100 + b" " * spaces + b"secret-token and more"
        server = faulty(lambda exchange, body=body: exchange.reply(body, "502 Bad Gateway", "text/plain"))
        assert "secret" not in str(_outcome(call, _history(server), "messages"))


def test_the_deadline_bounds_a_host_with_many_addresses(monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    with full_listener() as port:
        found = [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))] * 4
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: found)
        history = UpstashRedisChatMessageHistory("s", f"http://many.localhost:{port}", "t", timeout=1, retries=0)
        began = time.monotonic()
        with pytest.raises(TimeoutError) as caught:
            call(history, "add_messages", ONE)
        assert time.monotonic() - began < 20
        assert not isinstance(caught.value, OutcomeUnknown)
