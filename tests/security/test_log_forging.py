"""One error is one line: no key, record or server text begins a second one, or steers a terminal."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage

from chatstash import Record, Store, UpstashRedisChatMessageHistory, errors
from chatstash.history.records.decoding import decode
from chatstash.history.records.encoding import encode
from chatstash.history.steps import requests
from chatstash.langchain.messages import to_message, to_records
from chatstash.local import LocalUpstash
from chatstash.rest.commands import Batch
from chatstash.rest.http.exchange import HttpReply
from chatstash.rest.protocol import replies_from, request_for
from tests.conftest import Call
from tests.faulty import FaultyServer

Start = Callable[..., FaultyServer]
FORGED = "\r\n2026-01-01 INFO admin logged in\x1b[2J\x1b]0;x\x07\u2028\u2029\x85\x0b\x0c\x00\u202e\ud800"
URL = "https://h.example"


def _is_one_line(error: BaseException) -> bool:
    return bool(str(error).isprintable() and str(error).encode() and str(error.__cause__ or "").count("\x1b") == 0)


def _raised(act: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:
        act()
    return caught.value


STORED = FORGED.replace("\ud800", "")
NAME = STORED.replace("\x00", "")


@pytest.mark.parametrize("prefix", ["message_store:", STORED])
@pytest.mark.parametrize("name", ["messages", "add_messages", "clear"])
def test_of_a_session_id(
    upstash: LocalUpstash, either: Call, run: Call, prefix: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    history = UpstashRedisChatMessageHistory(
        STORED, upstash.url, upstash.token, prefix, ttl=60, refresh_ttl_on_read=True
    )
    arguments = [[HumanMessage(STORED)]] if name == "add_messages" else []
    either(history, "add_messages", [HumanMessage("x")])
    either(history, name, *arguments)
    run("SET", history.key, "theirs")
    if name != "clear":
        assert _is_one_line(_raised(lambda: either(history, name, *arguments)))
    run("DEL", history.key)
    run("LPUSH", history.key, STORED)
    error = _raised(lambda: either(history, "messages"))
    assert isinstance(error, errors.CorruptRecord)
    assert _is_one_line(error)
    assert caplog.records
    for record in caplog.records:
        assert record.getMessage().isprintable()


@pytest.mark.parametrize(
    "make",
    [
        lambda: UpstashRedisChatMessageHistory(FORGED, URL, "t"),
        lambda: UpstashRedisChatMessageHistory("s", URL, "t", FORGED),
        lambda: UpstashRedisChatMessageHistory("s", URL, "t", "chatstash:" + STORED),
        lambda: UpstashRedisChatMessageHistory("s", URL, "t", "p", FORGED),  # type: ignore[arg-type]
        lambda: UpstashRedisChatMessageHistory("s", URL, "t", [FORGED]),  # type: ignore[arg-type]
        lambda: UpstashRedisChatMessageHistory([FORGED], URL, "t"),  # type: ignore[arg-type]
        lambda: UpstashRedisChatMessageHistory("s", FORGED, "t"),
        lambda: UpstashRedisChatMessageHistory("s", f"https://{STORED}/", "t"),
        lambda: UpstashRedisChatMessageHistory("s", f"\x1b{URL}", "t"),
        lambda: UpstashRedisChatMessageHistory("s", f"{URL}:{STORED}", "t"),
        lambda: UpstashRedisChatMessageHistory("s", URL, FORGED),
        lambda: Store(URL, "t", timeout=FORGED),  # type: ignore[arg-type]
        lambda: Store(URL, "t", retries=FORGED),  # type: ignore[arg-type]
        lambda: Store(URL, "t").session_at(FORGED),
    ],
)
def test_of_arguments(make: Callable[[], object]) -> None:
    error = _raised(make)
    assert isinstance(error, ValueError)
    assert _is_one_line(error)


def test_of_every_error_that_names_a_key_or_a_record() -> None:
    for error in (
        errors.CorruptRecord("bad", key=FORGED, raw=FORGED.encode("utf-8", "surrogatepass")),
        errors.UnsupportedRecord(FORGED, key=FORGED),
        requests.wrong_type(FORGED, "Left", errors.WrongType("x")),
        requests.expiry_refused(FORGED, errors.CommandRejected("x"), Batch((("GET", "k"),)).effect),
        errors.IdempotencyConflict(FORGED, FORGED),
        errors.ConcurrentTurn(FORGED),
    ):
        assert _is_one_line(error)


@pytest.mark.parametrize(
    "record",
    [
        {"type": STORED, "data": {"content": "x"}},
        {"type": "human", "data": {"content": 7, STORED: 1}},
        {"type": "human", "data": {"content": [STORED, 7]}},
        {"type": "ai", "data": {"content": "x", "tool_calls": [{STORED: 1}]}},
        {"type": "ai", "data": {"content": "x", "tool_calls": [STORED]}},
        {"type": "ai", "data": {"content": "x", "tool_calls": [{"name": STORED, "args": STORED, "id": STORED}]}},
        {"type": "ai", "data": {"content": "x", "usage_metadata": {STORED: STORED}}},
        {"type": "tool", "data": {"content": "x", "tool_call_id": "1", "status": STORED}},
        {"type": "human", "data": {"content": "x", "type": STORED}},
        {"type": "chat", "data": {"content": "x", STORED: STORED}},
        {"type": "human", "data": {}, "v": STORED},
    ],
    ids=str,
)
def test_of_a_record(upstash: LocalUpstash, either: Call, run: Call, record: dict[str, Any]) -> None:
    history = UpstashRedisChatMessageHistory("s", upstash.url, upstash.token)
    run("LPUSH", history.key, json.dumps(record))
    error = _raised(lambda: either(history, "messages"))
    assert isinstance(error, (errors.CorruptRecord, errors.UnsupportedRecord))
    assert _is_one_line(error)
    assert error.__cause__ is None or "admin logged in\x1b" not in str(error.__cause__)
    assert not any(line.startswith("2026") for line in str(error.__cause__).splitlines())


def test_of_a_record_that_is_passed_over(upstash: LocalUpstash, call: Call, run: Call, caplog: Any) -> None:
    for on_corrupt in ("skip", "placeholder"):
        history = UpstashRedisChatMessageHistory(STORED, upstash.url, upstash.token, on_corrupt=on_corrupt)
        run("LPUSH", history.key, json.dumps({"type": STORED, "data": {"content": STORED}}), STORED)
        call(history, "messages")
    assert len(caplog.records) == 6
    assert all(record.getMessage().isprintable() for record in caplog.records)


@pytest.mark.parametrize("raw", [STORED.encode(), b"\xff\x1b[2J", b'{"type": "\x1b', b"{" + STORED.encode()])
def test_of_bytes_that_are_no_record(raw: bytes) -> None:
    assert _is_one_line(_raised(lambda: decode(raw, key=FORGED)))


def _circular(name: str) -> Record:
    data: dict[str, Any] = {"content": "x"}
    data[name] = {name: data}
    return Record("human", data)


@pytest.mark.parametrize(
    "act",
    [
        lambda: encode(Record("human", {FORGED: {FORGED: object()}})),
        lambda: encode(Record("human", {FORGED: {(FORGED,): 1}})),
        lambda: encode(Record("human", {"x" * 10**6: {"y" * 10**6: object()}})),
        lambda: encode(_circular(FORGED)),
        lambda: encode(type(NAME, (), {})()),
        lambda: encode(Record("human", {"a": type(NAME, (), {})()})),
        lambda: to_records([type(NAME, (), {})()]),
        lambda: to_records(FORGED),
        lambda: to_records([_assigned(type=FORGED)]),
        lambda: to_records([_assigned(content={FORGED: 1})]),
        lambda: to_records([_assigned(tool_calls=[FORGED])]),
        lambda: to_records([_assigned(usage_metadata={FORGED: 1})]),
        lambda: to_message(Record(FORGED, {"content": FORGED}), key=FORGED),
    ],
)
def test_of_what_cannot_be_stored(act: Callable[[], object]) -> None:
    with warnings.catch_warnings():
        # pydantic warns of fields that hold what they should not.
        warnings.simplefilter("ignore")
        error = _raised(act)
    assert isinstance(error, errors.ChatstashError)
    assert _is_one_line(error)
    assert len(str(error)) < 2000


def _assigned(**fields: Any) -> AIMessage:
    message = AIMessage("x")
    for name, value in fields.items():
        object.__setattr__(message, name, value)
    return message


def test_a_role_may_be_anything() -> None:
    message = ChatMessage(STORED, role=STORED)
    assert to_message(to_records([message])[0]) == message


@pytest.mark.parametrize("kind", ["application/json", "application/octet-stream", "text/plain", FORGED])
@pytest.mark.parametrize(
    "form", ["%s", '{"error": "%s"}', "-%s\r\n", "?%s", "*%s\r\n", "$%s\r\n", '{"result": {"%s": 1}}']
)
def test_of_a_servers_text(kind: str, form: str) -> None:
    batch = Batch((("GET", "k"),))
    text = form % (json.dumps(STORED)[1:-1] if form.startswith("{") else STORED)
    headers = {"content-type": kind, "retry-after": FORGED, "upstash-sync-token": FORGED}
    for status in (200, 302, 400, 401, 429, 500, 502):
        reply = HttpReply(status, headers, text.encode())
        error = _raised(lambda reply=reply: replies_from(batch, request_for(batch), reply))
        assert isinstance(error, errors.DatabaseError)
        assert _is_one_line(error)


def test_of_a_server_through_the_network(faulty: Start, call: Call, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = faulty(
        lambda e: e.reply(STORED.encode(), "502 Bad\x1b[2J Gateway", "text/plain", "retry-after: \x1b[2J\r\n")
    )
    history = UpstashRedisChatMessageHistory("s", server.url, "secret-token", retries=0)
    assert _is_one_line(_raised(lambda: call(history, "messages")))
    for record in caplog.records:
        assert record.getMessage().isprintable()
