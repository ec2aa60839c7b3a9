"""Whatever a server answers or a database holds: a value, or an error of the tree, and nothing else.

`CHATSTASH_FUZZ_EXAMPLES=200000 pytest tests/security/test_fuzzing.py` looks further, with other examples each time.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import BaseMessage

from chatstash import ChatstashError, CorruptRecord, DatabaseError, Record, RecordId, UnstorableMessage
from chatstash.errors import UnsupportedRecord
from chatstash.history.records.decoding import decode
from chatstash.history.records.encoding import encode
from chatstash.langchain.messages import to_message, to_records
from chatstash.rest.commands import Batch, Effect
from chatstash.rest.http.exchange import HttpReply
from chatstash.rest.protocol import Forms, replies_from, request_for, sync_token_of
from chatstash.rest.secret import Secret
from tests.strategies import EVERY_KIND, JSON_VALUES

EXAMPLES = int(os.environ.get("CHATSTASH_FUZZ_EXAMPLES", "0"))
Decorator = Callable[[Any], Any]


def fuzz(examples: int) -> Decorator:
    return settings(
        max_examples=EXAMPLES or examples,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


BATCHES = [
    Batch((("LRANGE", "k", 0, -1),)),
    Batch((("LRANGE", "k", 0, -1), ("EXPIRE", "k", 60)), effect=Effect.IDEMPOTENT),
    Batch((("LPUSH", "k", "v"), ("EXPIRE", "k", 60)), atomic=True, effect=Effect.WRITE),
]
LINE = b"\r\n"


def _mutated(valid: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Valid bytes with pieces cut out, doubled, or replaced."""

    @st.composite
    def mutate(draw: st.DrawFn) -> bytes:
        data = draw(valid)
        for _ in range(draw(st.integers(0, 3))):
            start = draw(st.integers(0, len(data)))
            end = draw(st.integers(start, min(len(data), start + 8)))
            data = data[:start] + draw(st.binary(max_size=4) | st.just(data[start:end] * 2)) + data[end:]
        return data

    return mutate()


_NUMBERS = st.integers(-2, 5) | st.integers() | st.sampled_from([10**9, 2**31, 2**32 - 1, 2**63, -(2**63), 10**30])
_LINES = st.binary(max_size=12).map(lambda text: text.replace(b"\r", b"").replace(b"\n", b""))


def _bulk(data: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(data), data)


def _array(items: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(items) + b"".join(items)


def _lying(kind: bytes, number: int, rest: bytes) -> bytes:
    return kind + str(number).encode() + LINE + rest


_RECORD_BYTES = st.sampled_from([encode(record).encode() for record in to_records(EVERY_KIND)])
_RESP_LEAVES = (
    (st.binary(max_size=12) | _RECORD_BYTES).map(_bulk)
    | st.builds(lambda number: b":%d\r\n" % number, _NUMBERS)
    | st.builds(lambda kind, line: kind + line + LINE, st.sampled_from(list(map(bytes, zip(b"+-:,#_(!=|>~%")))), _LINES)
)
RESP = st.recursive(
    _RESP_LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4).map(_array)
        | st.builds(_lying, st.sampled_from(list(map(bytes, zip(b"*$~%>|=")))), _NUMBERS, inner)
    ),
    max_leaves=12,
)
_BASE64 = st.binary(max_size=12).map(lambda data: base64.b64encode(data).decode())
_ERRORS = st.sampled_from(["ERR x", "WRONGTYPE", "NOPERM", "LOADING", "\u2028\x1b[2J", ""]) | st.text(max_size=10)
_RESULTS = JSON_VALUES | _BASE64 | st.lists(_BASE64 | JSON_VALUES, max_size=4)
_ENTRY = st.fixed_dictionaries({}, optional={"result": _RESULTS, "error": _ERRORS | JSON_VALUES, "x": JSON_VALUES})
JSON_BODIES = (_ENTRY | st.lists(_ENTRY, max_size=3) | JSON_VALUES).map(lambda body: json.dumps(body).encode())
BODIES = _mutated(RESP) | _mutated(st.lists(RESP, max_size=3).map(b"".join)) | _mutated(JSON_BODIES) | st.binary()
TYPES = st.sampled_from(["application/octet-stream", "application/json", "text/html", "", "application/json; x=\x00"])
HEADERS = st.fixed_dictionaries(
    {"content-type": TYPES | st.text(max_size=8)},
    optional={
        "retry-after": st.text("0123456789.-+eE_²٣ ", max_size=400) | st.just("9" * 5000) | st.text(max_size=8),
        "upstash-sync-token": st.text(max_size=8),
    },
)
STATUSES = st.sampled_from([200, 200, 200, 204, 302, 400, 401, 404, 413, 429, 500, 502, 503, 599]) | st.integers(
    100, 999
)


@fuzz(300)
@given(st.sampled_from(BATCHES), st.booleans(), STATUSES, HEADERS, BODIES)
def test_a_reply(batch: Batch, resp2: bool, status: int, headers: dict[str, str], body: bytes) -> None:
    reply = HttpReply(status, headers, body)
    try:
        values = replies_from(batch, request_for(batch, forms=Forms(resp2=resp2)), reply, token=Secret("to/ken"))
    except DatabaseError as error:
        _check_error(error)
    else:
        assert status == 200
        assert len(values) == len(batch.commands)
        for value in values:
            assert value is None or type(value) in (bytes, int, list) or isinstance(value, DatabaseError)
    token = sync_token_of(reply)
    assert token is None or (token.isascii() and token.isprintable())


def _check_error(error: DatabaseError) -> None:
    assert str(error).isprintable()
    assert len(str(error)) < 2000
    assert error.__cause__ is None
    assert error.__context__ is None
    assert error.retry_after is None or 0 <= error.retry_after <= 10**9


_CALM = st.text(max_size=6) | st.sampled_from(
    ["type", "data", "rid", "v", "content", "lc", "id", "kwargs", "__class__", "__init__", "__proto__", "constructor",
     "additional_kwargs", "response_metadata", "tool_calls", "tool_call_id", "usage_metadata", "model_config", "self",
     "invalid_tool_calls", "tool_call_chunks", "status", "role", "name", "example", "artifact", "chunk_position",
     "__pydantic_private__", "__pydantic_extra__", "__dict__", "model_fields", "content_blocks", "lc_attributes"]
)  # fmt: skip
_RAW_JSON = st.recursive(
    JSON_VALUES.map(json.dumps) | st.sampled_from(["1e999999", "-1e999999", "NaN", "Infinity", "9" * 4299, "9" * 4301]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.lists(st.tuples(_CALM.map(json.dumps), inner), max_size=4).map(
            lambda pairs: "{" + ",".join(f"{name}:{value}" for name, value in pairs) + "}"
        )
    ),
    max_leaves=10,
)
_KINDS = ["human", "ai", "system", "chat", "function", "tool", "remove", "generic", "developer", "constructor"]
_KINDS += [f"{kind}MessageChunk" for kind in ("AI", "Human", "System", "Chat", "Function", "Tool")]
DATA = st.dictionaries(_CALM, JSON_VALUES, max_size=6)


def _record_text(kind: str, data: str, more: str) -> bytes:
    return f'{{"type":{json.dumps(kind)},"data":{data},"rid":{more}}}'.encode("utf-8", "surrogatepass")


RAW = (
    _mutated(_RECORD_BYTES)
    | _mutated(st.builds(_record_text, st.sampled_from(_KINDS), _RAW_JSON, _RAW_JSON))
    | _RAW_JSON.map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.binary()
)


@fuzz(150)
@given(RAW)
def test_stored_bytes(raw: bytes) -> None:
    try:
        record = decode(raw, key="k\n", position=1)
    except (CorruptRecord, UnsupportedRecord) as error:
        assert str(error).isprintable()
        return
    assert record.raw == raw
    # What was read can be written again and reads the same.
    again = decode(encode(record).encode())
    assert json.dumps([again.type, again.data, str(again.id), again.other]) == json.dumps(
        [record.type, record.data, str(record.id), record.other]
    )
    _check_message(record)


def _check_message(record: Record) -> None:
    try:
        message = to_message(record, key="k\n", position=1)
    except CorruptRecord as error:
        assert str(error).isprintable()
        return
    assert isinstance(message, BaseMessage)
    assert type(message).__module__.startswith("langchain_core.messages.")


@fuzz(150)
@given(st.sampled_from(_KINDS) | st.text(max_size=8), DATA | st.dictionaries(_CALM, DATA, max_size=3))
def test_a_records_data(kind: str, data: dict[str, Any]) -> None:
    _check_message(Record(kind, data))


_ODD = st.sampled_from([b"bytes", {1, 2}, 1j, object(), ("t",)])
_ODD_KEYS = (
    st.text(max_size=6) | st.integers() | st.none() | st.floats() | st.binary(max_size=2) | st.tuples(st.just(1))
)
_LEAVES = JSON_VALUES | _ODD
_ANYTHING = _LEAVES | st.dictionaries(_ODD_KEYS, _LEAVES | st.lists(_LEAVES, max_size=2), max_size=3)


@fuzz(150)
@given(st.text(max_size=6), st.dictionaries(st.text(max_size=6), _ANYTHING, max_size=4), st.integers())
def test_a_record_to_be_stored(kind: str, data: dict[str, Any], index: int) -> None:
    try:
        text = encode(Record(kind, data), index=index)
    except UnstorableMessage as error:
        assert str(error).isprintable()
        return
    decode(text.encode())


@fuzz(150)
@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]{15,17}\.[0-9]{1,10}/[0-9²٣]{1,10}\n?"))
def test_an_id(text: str) -> None:
    rid = RecordId.parse(text)
    assert rid is None or RecordId.parse(str(rid)) == rid
    if rid is not None:
        assert text.isascii()
        assert 0 <= rid.time_ms < 2**48
        assert Record("human", {}, rid).time is None or rid.time_ms < 253_402_300_800_000


@pytest.mark.parametrize("depth", [10, 500, 900, 1000, 1023, 1025, 100_000])
@pytest.mark.parametrize("shape", [b'{"result":%s}', b'[{"result":1},{"result":%s}]', b'{"error":%s}', b"%s"])
def test_json_nested_deeply(depth: int, shape: bytes) -> None:
    reply = HttpReply(200, {"content-type": "application/json"}, shape % (b"[" * depth + b"]" * depth))
    for batch in BATCHES:
        try:
            replies_from(batch, request_for(batch), reply)
        except ChatstashError as error:
            assert len(str(error)) < 1000
