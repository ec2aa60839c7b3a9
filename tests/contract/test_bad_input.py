"""Bad input: a clear error before anything is sent, and nothing half done."""

from __future__ import annotations

import datetime as dt
import enum
import pathlib
import uuid
import warnings
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from chatstash import (
    BadCredentials,
    CorruptRecord,
    InsecureConnectionWarning,
    Record,
    RecordTooLarge,
    Store,
    UnstorableMessage,
    UnsupportedRecord,
    UpstashRedisChatMessageHistory,
    WrongType,
)
from chatstash.local import LocalUpstash
from tests.conftest import Call

URL = "https://example.upstash.io"


def _history(upstash: LocalUpstash, **options: Any) -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory("s", upstash.url, upstash.token, **options)


@pytest.mark.parametrize("session_id", ["", None, 7, b"s", ["s"], "\ud800", "x" * 32_768])
def test_an_invalid_session_id_is_refused(session_id: Any) -> None:
    with pytest.raises(ValueError, match=r"session_id|key"):
        UpstashRedisChatMessageHistory(session_id, URL, "t")
    with pytest.raises(ValueError, match=r"session_id|key"):
        Store(URL, "t").session(session_id)


@pytest.mark.parametrize(
    ("session_id", "words"),
    [
        (42, "session_id must be a string, not 42; convert it with str()"),
        (None, "session_id must be a string, not None"),
        ("", "session_id must not be empty: users would share one conversation"),
    ],
)
def test_what_is_wrong_with_a_session_id_is_said(session_id: Any, words: str) -> None:
    for make in (
        lambda: UpstashRedisChatMessageHistory(session_id, URL, "t"),
        lambda: Store(URL, "t").session(session_id),
    ):
        with pytest.raises(ValueError) as caught:
            make()
        assert str(caught.value) == words


def test_an_option_that_does_not_exist_is_named_with_those_that_do() -> None:
    changes: dict[str, Any] = {"foo": 3}
    with pytest.raises(TypeError) as caught:
        Store(URL, "t").session("x", **changes)
    assert "has no option 'foo'. Its options are " in str(caught.value)
    assert "Options" not in str(caught.value)


@pytest.mark.parametrize("key_prefix", [None, 7, "chatstash:", "\ud800"])
def test_an_invalid_key_prefix_is_refused(key_prefix: Any) -> None:
    with pytest.raises(ValueError, match=r"key"):
        UpstashRedisChatMessageHistory("s", URL, "t", key_prefix)


def test_a_key_of_just_32_kb_is_taken(upstash: LocalUpstash, call: Call) -> None:
    session_id = "x" * (32 * 1024 - len("message_store:"))
    history = UpstashRedisChatMessageHistory(session_id, upstash.url, upstash.token)
    call(history, "add_messages", [HumanMessage("a")])
    with pytest.raises(ValueError, match="32768"):
        UpstashRedisChatMessageHistory(session_id + "x", upstash.url, upstash.token)
    with pytest.raises(ValueError, match="32768"):
        UpstashRedisChatMessageHistory("é" * 16_380, upstash.url, upstash.token)


@pytest.mark.parametrize(
    "url",
    [
        "redis://default:hunter2@example.upstash.io:6379",
        "rediss://default:hunter2@example.upstash.io:6379",
        "example.upstash.io",
        "https://",
        "http:///path",
        "https://example.upstash.io:port",
        "https://[::1",
        "https://user:hunter2@example.upstash.io",
        "https://example.upstash.io/?_token=hunter2",
        "https://exa mple.io",
        "https://example.io\r\nx: y",
        "https://" + "a" * 70 + ".example.io",
        "https://a..b.example.io",
        "ftp://example.io",
        7,
    ],
)
def test_an_invalid_url_is_refused(url: Any) -> None:
    with pytest.raises(ValueError, match="url") as caught:
        UpstashRedisChatMessageHistory("s", url, "t")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["redis://h:1", "rediss://h", "example.upstash.io"])
def test_another_kind_of_url_is_told_of_the_rest_url(url: str) -> None:
    with pytest.raises(ValueError, match="REST"):
        UpstashRedisChatMessageHistory("s", url, "t")


@pytest.mark.parametrize("token", ["hun ter", "hunter\r\nx: y", "hüntér", "\x00hunter", 7])
def test_an_invalid_token_is_refused(token: Any) -> None:
    with pytest.raises(ValueError, match="token") as caught:
        UpstashRedisChatMessageHistory("s", URL, token)
    assert "hunter" not in str(caught.value)


def test_white_space_around_url_and_token_does_no_harm(upstash: LocalUpstash, call: Call) -> None:
    history = UpstashRedisChatMessageHistory("s", f" {upstash.url}/ \n", f"{upstash.token}\n")
    assert call(history, "messages") == []


@pytest.mark.parametrize(("url", "token"), [("", ""), (URL, ""), ("", "t")])
def test_a_missing_database_is_an_error_that_helps(monkeypatch: pytest.MonkeyPatch, url: str, token: str) -> None:
    monkeypatch.delenv("UPSTASH_REDIS_REST_URL", raising=False)
    monkeypatch.delenv("UPSTASH_REDIS_REST_TOKEN", raising=False)
    for make in (lambda: UpstashRedisChatMessageHistory("s", url, token), lambda: Store(url, token)):
        with pytest.raises(ValueError, match="UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN") as caught:
            make()
        assert "chatstash dev" in str(caught.value)


@pytest.mark.parametrize("ttl", [0, -1, 10**9 + 1, 1.0, 60.5, True, False, "60", float("nan")])
def test_an_invalid_ttl_is_refused(ttl: Any) -> None:
    with pytest.raises(ValueError, match="ttl"):
        UpstashRedisChatMessageHistory("s", URL, "t", ttl=ttl)
    with pytest.raises(ValueError, match="ttl"):
        Store(URL, "t", ttl=ttl)


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), True, "3", 1e10, 10**400])
def test_an_invalid_timeout_is_refused(timeout: Any) -> None:
    with pytest.raises(ValueError, match="timeout"):
        UpstashRedisChatMessageHistory("s", URL, "t", timeout=timeout)
    with pytest.raises(ValueError, match="timeout"):
        Store(URL, "t", timeout=timeout)


@pytest.mark.parametrize("retries", [-1, 1.5, True, "3"])
def test_invalid_retries_are_refused(retries: Any) -> None:
    with pytest.raises(ValueError, match="retries"):
        UpstashRedisChatMessageHistory("s", URL, "t", retries=retries)


@pytest.mark.parametrize("given", [{"url": URL}, {"token": "t"}, {"url": URL, "token": "t"}])
def test_a_store_together_with_url_or_token(given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="store"):
        UpstashRedisChatMessageHistory("s", store=Store(URL, "t"), **given)


@pytest.mark.parametrize(
    "make", [lambda url: UpstashRedisChatMessageHistory("s", url, "t"), lambda url: Store(url, "t")]
)
def test_plain_http_to_elsewhere_is_one_warning(make: Any, session_id: str) -> None:
    url = f"http://{session_id}-{make.__code__.co_firstlineno}-{len(make.__code__.co_names)}.example.internal"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make(url)
    (warning,) = caught
    assert warning.category is InsecureConnectionWarning
    assert "unencrypted" in str(warning.message)
    assert warning.filename == __file__


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "redis.localhost"])
def test_plain_http_to_this_machine_is_no_warning(host: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Store(f"http://{host}:8079", "t")


@pytest.mark.parametrize("bad", ["text", {"role": "user", "content": "x"}, ("human", "x"), None, 7, HumanMessage])
def test_a_non_message_is_named_by_its_index(upstash: LocalUpstash, either: Call, bad: Any) -> None:
    history = _history(upstash)
    with pytest.raises(TypeError, match="Message 1") as caught:
        either(history, "add_messages", [HumanMessage("a"), bad])
    assert isinstance(caught.value, UnstorableMessage)
    assert caught.value.index == 1
    assert history.messages == []


@pytest.mark.parametrize("bad", ["text", b"text", {"content": "x"}, HumanMessage("x"), 7])
def test_a_single_thing_in_place_of_a_list_is_no_message_0(upstash: LocalUpstash, either: Call, bad: Any) -> None:
    history = _history(upstash)
    with pytest.raises(UnstorableMessage) as caught:
        either(history, "add_messages", bad)
    assert str(caught.value).startswith(f"add_messages takes a list of messages, not {type(bad).__name__}; ")
    assert caught.value.index is None
    assert history.messages == []


@pytest.mark.parametrize("bad", ["text", b"text", {"content": "x"}, Record("human", {}), 7])
def test_a_single_thing_in_place_of_a_list_is_no_record_0(upstash: LocalUpstash, call: Call, bad: Any) -> None:
    with Store(upstash.url, upstash.token) as store, pytest.raises(UnstorableMessage) as caught:
        store.session("s").append(bad)
    assert str(caught.value).startswith(f"append takes a list of records, not {type(bad).__name__}. ")


class Plain(enum.Enum):
    ONE = object()


UNSTORABLE = {
    "bytes": b"x",
    "datetime": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    "date": dt.date(2026, 1, 1),
    "set": {1},
    "frozenset": frozenset(),
    "uuid": uuid.UUID(int=1),
    "path": pathlib.Path("x"),
    "complex": 1j,
    "object": object(),
    "enum": Plain.ONE,
    "tuple key": {("a", 1): 2},
    "huge integer": 10**5000,
}


@pytest.mark.parametrize("value", UNSTORABLE.values(), ids=UNSTORABLE)
def test_what_json_cannot_hold_is_named_by_index_and_path(upstash: LocalUpstash, either: Call, value: Any) -> None:
    history = _history(upstash)
    before = upstash.stats
    message = AIMessage("x", additional_kwargs={"fine": [1, "a"], "list": [0, {"deep": value}]})
    with pytest.raises(TypeError) as caught:
        either(history, "add_messages", [HumanMessage("a"), message])
    assert isinstance(caught.value, UnstorableMessage)
    assert caught.value.index == 1
    assert caught.value.path.startswith("additional_kwargs['list'][1]['deep']")
    assert "Message 1 at additional_kwargs['list'][1]['deep']" in str(caught.value)
    assert upstash.stats == before


def test_an_artifact_json_cannot_hold(upstash: LocalUpstash, call: Call) -> None:
    message = ToolMessage("x", tool_call_id="1", artifact=b"png")
    with pytest.raises(TypeError, match="artifact"):
        call(_history(upstash), "add_messages", [message])


def test_a_value_that_contains_itself(upstash: LocalUpstash, call: Call) -> None:
    loop: list[Any] = []
    loop.append(loop)
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for value in (loop, deep):
        with pytest.raises(TypeError, match="Message 0"):
            call(_history(upstash), "add_messages", [HumanMessage("x", additional_kwargs={"value": value})])


def test_a_message_of_a_type_nobody_reads_back(upstash: LocalUpstash, call: Call) -> None:
    class Whisper(BaseMessage):
        type: str = "whisper"

    with pytest.raises(TypeError, match="whisper"):
        call(_history(upstash), "add_messages", [Whisper(content="x")])


@pytest.mark.parametrize("field", [("content", None), ("tool_calls", None), ("usage_metadata", {})])
def test_a_message_that_could_not_be_read_back_is_not_stored(
    upstash: LocalUpstash, either: Call, field: tuple[str, Any]
) -> None:
    message = AIMessage("x")
    setattr(message, *field)
    with pytest.raises(UnstorableMessage, match="Message 1") as caught:
        either(_history(upstash), "add_messages", [HumanMessage("a"), message])
    assert "read back" in str(caught.value)
    assert _history(upstash).messages == []


def test_a_wrong_token(upstash: LocalUpstash, call: Call) -> None:
    wrong = "-".join(["wrong", "token"])  # put together, so that the traceback's source lines do not show it
    history = UpstashRedisChatMessageHistory("s", upstash.url, wrong)
    wrong = str(len(wrong))
    for name, arguments in (("messages", []), ("add_messages", [[HumanMessage("x")]]), ("clear", [])):
        with pytest.raises(BadCredentials, match="token") as caught:
            call(history, name, *arguments)
        shown = f"{caught.value} {caught.value!r} {caught.getrepr(showlocals=True)} {history!r} {history._store!r}"
        assert "-".join(["wrong", "token"]) not in shown
        assert caught.value.status == 401


@pytest.mark.parametrize("ttl", [None, 100])
@pytest.mark.parametrize("expiry", [None, 5000])
@pytest.mark.parametrize("name", ["add_messages", "messages"])
def test_a_key_of_another_type(
    upstash: LocalUpstash, either: Call, run: Call, ttl: int | None, expiry: int | None, name: str
) -> None:
    run("SET", "message_store:s", "theirs")
    if expiry:
        run("EXPIRE", "message_store:s", expiry)
    history = _history(upstash, ttl=ttl, refresh_ttl_on_read=ttl is not None)
    with pytest.raises(WrongType, match="message_store:s") as caught:
        either(history, name, *([[HumanMessage("x")]] if name == "add_messages" else []))
    assert caught.value.key == "message_store:s"
    assert run("GET", "message_store:s") == "theirs"
    left = run("TTL", "message_store:s")
    assert left == -1 if expiry is None else left > 4900
    assert "It was left as it was" in str(caught.value)


def test_a_wrong_type_without_a_ttl_costs_one_command(upstash: LocalUpstash, call: Call, run: Call) -> None:
    run("SET", "message_store:s", "theirs")
    before = upstash.stats
    with pytest.raises(WrongType):
        call(_history(upstash), "add_messages", [HumanMessage("x")])
    assert (upstash.stats - before).commands == 1


GOOD = '{"type":"human","data":{"content":"good"}}'
CORRUPT = {
    "not json": "{not json",
    "empty": "",
    "a string": '"text"',
    "an array": "[1]",
    "null": "null",
    "a number": "7",
    "no type": '{"data":{"content":"x"}}',
    "no data": '{"type":"human"}',
    "type is a number": '{"type":7,"data":{}}',
    "data is a string": '{"type":"human","data":"x"}',
    "data is null": '{"type":"human","data":null}',
    "unknown type": '{"type":"whisper","data":{"content":"x"}}',
    "generic, without a role": '{"type":"generic","data":{"content":"x"}}',
    "no content": '{"type":"human","data":{}}',
    "content of another type": '{"type":"human","data":{"content":7}}',
    "hostile kwargs": '{"type":"ai","data":{"content":"x","additional_kwargs":"x"}}',
    "hostile tool calls": '{"type":"ai","data":{"content":"x","tool_calls":[7]}}',
    "an lc constructor": '{"lc":1,"type":"constructor","id":["langchain","llms"],"kwargs":{}}',
    "nested too deeply": '{"type":"human","data":{"content":' + "[" * 100_000,
    "self": '{"type":"human","data":{"content":"x","self":1}}',
    "huge number": '{"type":"human","data":{"content":"x","n":' + "9" * 5000 + "}}",
}


@pytest.mark.parametrize("bad", CORRUPT.values(), ids=CORRUPT)
def test_a_corrupt_record_is_named_by_key_and_position(
    upstash: LocalUpstash, either: Call, run: Call, bad: str
) -> None:
    run("RPUSH", "message_store:s", GOOD, bad, GOOD, GOOD)
    with pytest.raises(CorruptRecord, match="message_store:s") as caught:
        either(_history(upstash), "messages")
    assert (caught.value.key, caught.value.position) == ("message_store:s", 2)
    assert run("LINDEX", "message_store:s", -1 - caught.value.position) == bad
    assert run("LLEN", "message_store:s") == 4


def test_a_record_that_is_not_utf8(upstash: LocalUpstash, call: Call, run: Call) -> None:
    run("EVAL", "return redis.call('LPUSH', KEYS[1], '\\255\\254')", 1, "message_store:s")
    with pytest.raises(CorruptRecord) as caught:
        call(_history(upstash), "messages")
    assert caught.value.raw == b"\xff\xfe"


def test_a_record_of_a_newer_form(upstash: LocalUpstash, call: Call, run: Call) -> None:
    run("LPUSH", "message_store:s", '{"type":"human","data":{"content":"x"},"v":2}')
    with pytest.raises(UnsupportedRecord, match="version 2"):
        call(_history(upstash), "messages")


def test_a_message_over_the_servers_limit(upstash: LocalUpstash, call: Call) -> None:
    history = _history(upstash, ttl=60, max_request_bytes=50_000_000)
    with pytest.raises(RecordTooLarge) as caught:
        call(history, "add_messages", [HumanMessage("x"), HumanMessage("x" * 12_000_000)])
    assert (caught.value.index, caught.value.limit) == (1, 10 * 1024 * 1024)
    assert history.messages == []


def test_a_message_over_the_limit_is_not_sent(upstash: LocalUpstash, call: Call) -> None:
    before = upstash.stats
    with pytest.raises(RecordTooLarge, match=r"Message 1 alone .* No message was stored") as caught:
        call(_history(upstash), "add_messages", [HumanMessage("x"), HumanMessage("x" * 12_000_000)])
    assert upstash.stats == before
    assert (caught.value.index, caught.value.limit) == (1, 10_000_000)
    assert 12_000_000 < caught.value.size < 12_100_000


def test_an_empty_start_on_is_refused() -> None:
    with pytest.raises(ValueError, match="start_on"):
        UpstashRedisChatMessageHistory("s", URL, "t", start_on="")
    with pytest.raises(ValueError, match="start_on"):
        UpstashRedisChatMessageHistory("s", URL, "t").read(start_on="")
