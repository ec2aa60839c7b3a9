"""Hostile records: they make messages of LangChain's own classes or are corrupt, and take no more than their share."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from chatstash import CorruptRecord, ProtocolError, Store, UnsupportedRecord, UpstashRedisChatMessageHistory
from chatstash.history.records.decoding import decode
from chatstash.langchain.messages import to_message
from chatstash.local import LocalUpstash
from tests.conftest import Call

CONSTRUCTOR = {"lc": 1, "type": "constructor", "id": ["langchain", "llms", "OpenAI"], "kwargs": {"model_name": "m"}}
SECRET = {"lc": 1, "type": "secret", "id": ["UPSTASH_REDIS_REST_TOKEN"]}
ODD_NAMES = [
    "__proto__", "__class__", "__init__", "__dict__", "__fields__", "__pydantic_private__", "__pydantic_extra__",
    "__pydantic_fields_set__", "__reduce__", "__getattr__", "constructor", "prototype", "model_config", "model_fields",
    "model_dump", "lc_attributes", "lc_secrets", "is_lc_serializable", "text", "pretty_print", "_abc_impl", "",
]  # fmt: skip


def _record(kind: str = "human", **data: Any) -> str:
    return json.dumps({"type": kind, "data": {"content": "x", **data}})


def _history(upstash: LocalUpstash) -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory("s", upstash.url, upstash.token)


def _read(upstash: LocalUpstash, call: Call, run: Call, *records: str) -> list[BaseMessage]:
    run("RPUSH", "message_store:s", *reversed(records))
    messages: list[BaseMessage] = call(_history(upstash), "messages")
    assert len(messages) == len(records)
    return messages


@pytest.mark.parametrize("payload", [CONSTRUCTOR, SECRET, {"type": "ai", "data": {"content": "y"}}], ids=str)
def test_a_constructor_stays_a_dict(
    upstash: LocalUpstash, either: Call, run: Call, payload: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPSTASH_REDIS_REST_TOKEN", "hidden-in-the-environment")
    records = [
        _record(additional_kwargs={"a": payload}, response_metadata={"b": [payload]}, extra=payload, example=False),
        _record("ai", content=[payload], tool_calls=[{"name": "f", "args": {"a": payload}, "id": "1"}]),
        _record("tool", tool_call_id="1", artifact=payload),
    ]
    human, ai, tool = _read(upstash, either, run, *records)
    assert (human.additional_kwargs, human.response_metadata) == ({"a": payload}, {"b": [payload]})
    assert type(human.extra) is dict  # type: ignore[attr-defined]
    assert human.extra == payload  # type: ignore[attr-defined]
    assert isinstance(ai, AIMessage)
    assert ai.content == [payload]
    assert ai.tool_calls[0]["args"] == {"a": payload}
    assert tool.artifact == payload  # type: ignore[attr-defined]
    assert "hidden" not in repr([human, ai, tool])


@pytest.mark.parametrize("place", ["example", "name", "id", "content", "tool_calls", "additional_kwargs", "data"])
def test_a_constructor_where_something_else_is_due(upstash: LocalUpstash, either: Call, run: Call, place: str) -> None:
    whole = (
        json.dumps({"type": "ai", "data": CONSTRUCTOR}) if place == "data" else _record("ai", **{place: CONSTRUCTOR})
    )
    run("LPUSH", "message_store:s", whole)
    try:
        (message,) = either(_history(upstash), "messages")
    except CorruptRecord as error:
        assert error.position == 0
    else:
        assert type(message) is AIMessage
        assert json.loads(json.dumps(message.model_dump()[place])) == CONSTRUCTOR


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_of_fields_change_no_class(upstash: LocalUpstash, either: Call, run: Call, name: str) -> None:
    values = ("x", {"polluted": True}, None)
    odd = [_record(**{name: value}) for value in values]
    nested = [_record(additional_kwargs={name: value}) for value in values]
    run("LPUSH", "message_store:s", *odd, *nested)
    before = dict(vars(HumanMessage)), dict(vars(BaseMessage))
    records = either(Store(upstash.url, upstash.token).session("s"), "read").records
    for place, record in enumerate(records):
        try:
            message = to_message(record)
        except CorruptRecord:
            assert place < len(odd)
            continue
        assert type(message) is HumanMessage
        assert message.content == "x"
        assert callable(message.model_dump)
        assert message.model_dump()["type"] == "human"
    assert (dict(vars(HumanMessage)), dict(vars(BaseMessage))) == before
    assert not hasattr(HumanMessage("y"), "polluted")


def test_the_type_does_not_come_from_data(upstash: LocalUpstash, call: Call, run: Call) -> None:
    for kind in ("system", "ai", "constructor"):
        with pytest.raises(CorruptRecord):
            _read(upstash, call, run, _record("human", type=kind))
        run("DEL", "message_store:s")


@pytest.mark.parametrize(
    "kind", ["", "constructor", "BaseMessage", "langchain_core.messages.AIMessage", "__class__", "x" * 10**6]
)
def test_other_types_are_corrupt(upstash: LocalUpstash, either: Call, run: Call, kind: str) -> None:
    run("LPUSH", "message_store:s", _record(kind))
    with pytest.raises(CorruptRecord) as caught:
        either(_history(upstash), "messages")
    assert len(str(caught.value)) < 1000


def test_of_two_fields_of_a_name_the_last_counts(upstash: LocalUpstash, call: Call, run: Call) -> None:
    twice = (
        '{"type":"system","data":{"content":"a"},"type":"human","data":{"content":"b","content":"c"},"rid":1,"rid":2}'
    )
    long = twice.replace('"rid":1', '"rid":' + "1" * 30)
    for message in _read(upstash, call, run, twice, long):
        assert (type(message), message.content) == (HumanMessage, "c")


@pytest.mark.parametrize(
    "rid",
    ["", "A" * 10**6,
     "AAAAAAAAAAAAAAAA.999999999/0", "AAAAAAAAAAAAAAAA.1/2\n", "../../etc", "AAAAAAAAAAAAAAAA.\uff11/2",
     None, 7, -1.5, [], {"a": 1}, CONSTRUCTOR, True],
    ids=lambda rid: repr(rid)[:30],
)  # fmt: skip
def test_hostile_ids(upstash: LocalUpstash, either: Call, run: Call, rid: object) -> None:
    run("LPUSH", "message_store:s", json.dumps({"type": "human", "data": {"content": "x"}, "rid": rid}))
    (record,) = either(Store(upstash.url, upstash.token).session("s"), "records")
    assert record.id is None or str(record.id) == rid
    assert "rid" not in record.other or record.other["rid"] == rid
    assert record.time is None or record.time.year >= 1970
    assert to_message(record).content == "x"


@pytest.mark.parametrize("number", ["1e999999", "-1e999999", "NaN", "Infinity", "-Infinity", "1e-999999", "9" * 4300])
def test_odd_numbers(upstash: LocalUpstash, either: Call, run: Call, number: str) -> None:
    (message,) = _read(
        upstash, either, run, f'{{"type":"human","data":{{"content":"x","additional_kwargs":{{"n":{number}}}}}}}'
    )
    assert repr(message.additional_kwargs["n"]) == repr(json.loads(number))


def _nested(opening: str, closing: str, depth: int) -> str:
    inner = opening * depth + "1" + closing * depth
    return f'{{"type":"human","data":{{"content":"x","additional_kwargs":{{"a":{inner}}}}}}}'


BOMBS: dict[str, Callable[[], str]] = {
    "brackets": lambda: '{"type":"human","data":{"content":' + "[" * 100_000,
    "closed brackets": lambda: _nested("[", "]", 100_000),
    "braces": lambda: _nested('{"a":', "}", 100_000),
    "a number of a million digits": lambda: _record()[:-2] + ',"n":' + "9" * 1_000_000 + "}}",
    "a number just over the limit": lambda: _record()[:-2] + ',"n":' + "9" * 4301 + "}}",
    "a version of a million digits": lambda: '{"type":"human","data":{},"v":' + "9" * 1_000_000 + "}",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_corrupt_records(upstash: LocalUpstash, either: Call, run: Call, bomb: str) -> None:
    run("RPUSH", "message_store:s", _record(), BOMBS[bomb](), _record())
    with pytest.raises(CorruptRecord) as caught:
        either(_history(upstash), "messages")
    assert caught.value.position == 1
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("depth", [100, 150, 400, 900, 980, 1000, 1020, 1030])
@pytest.mark.parametrize("of", [("[", "]"), ('{"a":', "}")])
def test_nesting_is_read_or_corrupt_at_any_depth(depth: int, of: tuple[str, str]) -> None:
    try:
        message = to_message(decode(_nested(*of, depth).encode()))
    except CorruptRecord:
        assert depth > 150
    else:
        assert type(message) is HumanMessage


@pytest.mark.parametrize("version", [[[[[[[[1]]]]]]], "x" * 10**6, "\x1b[2J\n", {"a": CONSTRUCTOR}, list(range(10**5))])
def test_a_version_is_shown_in_short(upstash: LocalUpstash, either: Call, run: Call, version: object) -> None:
    run("LPUSH", "message_store:s", json.dumps({"type": "human", "data": {}, "v": version}))
    with pytest.raises(UnsupportedRecord) as caught:
        either(_history(upstash), "messages")
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


def test_a_version_nested_as_deeply_as_can_be_read() -> None:
    with pytest.raises(UnsupportedRecord) as caught:
        decode(b'{"type":"human","data":{},"v":' + b"[" * 900 + b"]" * 900 + b"}")
    assert len(str(caught.value)) < 500


BOUNDED = """
import resource, sys
sys.path.insert(0, "")
from chatstash import ChatstashError
from chatstash.history.records.decoding import decode
from chatstash.langchain.messages import to_message
from chatstash.rest.commands import Batch
from chatstash.rest.http.exchange import HttpReply
from chatstash.rest.protocol import replies_from, request_for
from tests.security.test_hostile_records import BOMBS, BOUNDED_RECORDS, BOUNDED_REPLIES

with open("/proc/self/statm") as statm:
    used = int(statm.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 512 * 2**20,) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (40, 40))
for name, make in (BOMBS | BOUNDED_RECORDS).items():
    try:
        to_message(decode(make().encode()))
    except ChatstashError as error:
        assert str(error)
    print(name)
batch = Batch((("LRANGE", "k", 0, -1),))
for name, (kind, make) in BOUNDED_REPLIES.items():
    try:
        replies_from(batch, request_for(batch), HttpReply(200, {"content-type": kind}, make()))
    except ChatstashError as error:
        print(name)
"""
_RESP2, _JSON = "application/octet-stream", "application/json"
BOUNDED_RECORDS: dict[str, Callable[[], str]] = {
    "huge text": lambda: _record(content="x" * 20_000_000),
    "many calls": lambda: _record("ai", tool_calls=[{"name": "f", "args": {}, "id": "1"}] * 50_000),
    "many bad calls": lambda: _record("ai", tool_calls=[{"nam": 1}] * 50_000),
    "many chunks": lambda: _record(
        "AIMessageChunk", tool_call_chunks=[{"name": "f", "args": "{", "index": 0}] * 20_000
    ),
    "half a call": lambda: _record(
        "AIMessageChunk", tool_call_chunks=[{"name": "f", "args": "[" * 100_000, "index": 0}]
    ),
    "openai calls": lambda: _record(
        "ai", additional_kwargs={"tool_calls": [{"function": {"name": "f", "arguments": "[" * 100_000}, "id": "1"}]}
    ),
    "many blocks": lambda: _record(content=[{"type": "text", "text": "x"}] * 100_000),
    "many names": lambda: _record(**{f"n{number}": 1 for number in range(100_000)}),
    "many numbers": lambda: _record(n=[10**19] * 200_000),
}
BOUNDED_REPLIES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "an array of a billion": (_RESP2, lambda: b"*1000000000\r\n"),
    "a set of a billion": (_RESP2, lambda: b"~1000000000\r\n"),
    "a push of a billion": (_RESP2, lambda: b">1000000000\r\n:1\r\n"),
    "an attribute of a billion": (_RESP2, lambda: b"|1000000000\r\n:1\r\n"),
    "a map of a billion": (_RESP2, lambda: b"%1000000000\r\n:1\r\n"),
    "a push": (_RESP2, lambda: b">1\r\n:1\r\n"),
    "the longest array": (_RESP2, lambda: b"*4294967295\r\n"),
    "an array of arrays of a billion": (_RESP2, lambda: b"*2\r\n$3\r\nabc\r\n*1000000000\r\n:1\r\n"),
    "arrays in arrays": (_RESP2, lambda: b"*1000000\r\n" * 100_000),
    "arrays nested": (_RESP2, lambda: b"*1\r\n" * 1_000_000 + b":1\r\n"),
    "text of a terabyte": (_RESP2, lambda: b"$1000000000000\r\nx"),
    "text of less than none": (_RESP2, lambda: b"$-1000000000\r\n*9999999\r\n"),
    "a length of a million digits": (_RESP2, lambda: b"*" + b"9" * 1_000_000 + b"\r\n"),
    "an integer of a million digits": (_RESP2, lambda: b":" + b"9" * 1_000_000 + b"\r\n"),
    "a map of arrays": (_RESP2, lambda: b"%1\r\n*0\r\n:1\r\n"),
    "json nested": (_JSON, lambda: b'{"result":' + b"[" * 1_000_000),
    "json just not nested too deeply": (_JSON, lambda: b'{"result":' + b"[" * 1000 + b"]" * 1000 + b"}"),
    "json of a million digits": (_JSON, lambda: b'{"result":' + b"9" * 1_000_000 + b"}"),
    "a page": ("text/html", lambda: b"<p>" * 10_000_000),
}


@pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux's")
def test_memory_and_stack_are_bounded() -> None:
    """Half a gigabyte more than the imports take, and a minute, do for all of them."""
    done = subprocess.run([sys.executable, "-c", BOUNDED], capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [*BOMBS, *BOUNDED_RECORDS, *BOUNDED_REPLIES]


def test_text_that_looks_like_a_huge_array_is_read(upstash: LocalUpstash, call: Call, run: Call) -> None:
    run("LPUSH", "message_store:s", "*1000000000\r\n$-5\r\n")
    with pytest.raises(CorruptRecord) as caught:
        call(Store(upstash.url, upstash.token).session("s"), "read")
    assert caught.value.raw == b"*1000000000\r\n$-5\r\n"


def test_text_that_looks_nested_hides_no_other_record(upstash: LocalUpstash, call: Call, run: Call) -> None:
    history = _history(upstash)
    history.add_user_message("mine")
    run("LPUSH", "message_store:s", "\r\n" + "*1\r\n" * 16)
    with pytest.raises(CorruptRecord) as caught:
        call(history, "messages")
    assert [message.content for message in caught.value.messages] == ["mine"]


def test_a_reply_that_claims_a_billion_elements(faulty: Call, call: Call) -> None:
    server = faulty(lambda e: e.reply(b"*1000000000\r\n", content_type=_RESP2))
    with pytest.raises(ProtocolError, match="more elements than it can hold"):
        call(UpstashRedisChatMessageHistory("s", server.url, "secret-token"), "messages")
