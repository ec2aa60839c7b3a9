"""Encoding and decoding records: what is encoded is decoded equal, and other bytes are refused."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatstash.errors import CorruptRecord, UnsupportedRecord
from chatstash.history.records.decoding import decode
from chatstash.history.records.encoding import encode
from chatstash.history.records.record import Record, RecordId, new_record_ids
from tests.strategies import JSON_VALUES, equal

_OBJECTS = st.dictionaries(st.text(max_size=8), JSON_VALUES, max_size=4)
_RIDS = st.builds(
    lambda time_ms, randomness, size: new_record_ids(size, time_ms=time_ms, randomness=randomness)[-1],
    st.integers(0, 2**48 - 1),
    st.binary(min_size=6, max_size=6),
    st.integers(1, 1000),
)
_OTHER = st.dictionaries(
    st.text(max_size=8).filter(lambda name: name not in ("type", "data", "rid", "v")), JSON_VALUES, max_size=2
)


@given(st.text(max_size=8), _OBJECTS, st.none() | _RIDS, _OTHER)
def test_round_trip(kind: str, data: dict[str, Any], rid: RecordId | None, other: dict[str, Any]) -> None:
    record = Record(kind, data, rid, other)
    text = encode(record)
    back = decode(text.encode())
    assert (back.type, back.id) == (kind, rid)
    # As json has it: two halves of a surrogate pair that stand together become one character.
    data, other = json.loads(json.dumps([data, other]))
    assert equal(back.data, data)
    assert equal(back.other, other)
    assert equal(json.loads(text)["data"], data)


@given(_OBJECTS)
def test_what_json_writes_is_read_as_json_reads_it(data: dict[str, Any]) -> None:
    for text in (json.dumps({"type": "t", "data": data}), json.dumps({"type": "t", "data": data}, ensure_ascii=False)):
        try:
            raw = text.encode()
        except UnicodeEncodeError:
            continue
        assert equal(decode(raw).data, json.loads(text)["data"])


@given(st.dictionaries(st.text(max_size=8), st.text(alphabet=st.characters(), max_size=20), max_size=3))
def test_text_alone_is_written_as_json_writes_it(data: dict[str, str]) -> None:
    (rid,) = new_record_ids(1, time_ms=1_790_000_000_000, randomness=b"abcdef")
    fields = {"type": "human", "data": data, "rid": str(rid)}
    text = encode(Record("human", data, rid))
    assert text == json.dumps(fields, ensure_ascii=not _is_utf8(data), separators=(",", ":"))


def test_control_characters_are_written_as_json_writes_them() -> None:
    data = {"content": "".join(map(chr, range(0x100))) + "\u2028\u2029\ufeff\U0001f600"}
    assert encode(Record("human", data)) == json.dumps(
        {"type": "human", "data": data}, ensure_ascii=False, separators=(",", ":")
    )


def _is_utf8(data: dict[str, str]) -> bool:
    try:
        "".join([*data, *data.values()]).encode()
    except UnicodeEncodeError:
        return False
    return True


def test_it_is_compact_and_in_utf8() -> None:
    (rid,) = new_record_ids(1, time_ms=1_790_000_000_000, randomness=b"abcdef")
    text = encode(Record("human", {"content": "naïve 😀"}, rid))
    assert text == '{"type":"human","data":{"content":"naïve 😀"},"rid":"AaDEUGwAYWJjZGVm.0/1"}'


def test_halves_of_a_surrogate_pair_that_stand_together_become_one_character_as_in_json() -> None:
    text = encode(Record("human", {"content": "\ud83d\ude00"}))
    assert decode(text.encode()).data == {"content": "😀"} == json.loads(json.dumps({"content": "\ud83d\ude00"}))


def test_half_a_surrogate_pair_is_escaped() -> None:
    assert encode(Record("human", {"content": "\ud800"})).isascii()


@pytest.mark.parametrize("number", [2**63, 2**64, 2**64 - 1, -(2**63) - 1, 10**30, 1e308, 5e-324, math.inf, 0.1, -0.0])
def test_numbers(number: float) -> None:
    back = decode(encode(Record("t", {"n": number})).encode()).data["n"]
    assert equal(back, number)


@given(st.integers(0, 60), st.integers(19, 40), st.sampled_from(["", "-"]))
def test_a_long_number_is_noticed_wherever_it_stands(before: int, digits: int, sign: str) -> None:
    number = int(f"{sign}{'9' * digits}")
    record = decode(json.dumps({"type": "t", "data": {"x" * before: number}}).encode())
    assert record.data == {"x" * before: number}


@pytest.mark.parametrize(
    "rid", ["", "x", "AaDEUGwAYWJjZGVm", "AaDEUGwAYWJjZGVm.0/1\n", "AaDEUGwAYWJjZGVm.\u0660/1", "A" * 17 + ".0/1"]
)
def test_an_id_of_another_kind_is_kept_as_it_is(rid: str) -> None:
    record = decode(json.dumps({"type": "t", "data": {}, "rid": rid}).encode())
    assert record.id is None
    assert record.other == {"rid": rid}
    assert json.loads(encode(record))["rid"] == rid


def test_other_fields_survive() -> None:
    raw = b'{"type":"t","data":{},"rid":"AaDEUGwAYWJjZGVm.0/1","meta":{"a":1},"g":3}'
    assert json.loads(encode(decode(raw))) == json.loads(raw)


@given(st.binary(max_size=60))
def test_whatever_the_bytes_nothing_but_the_tree_is_raised(raw: bytes) -> None:
    try:
        decode(raw, key="k", position=3)
    except (CorruptRecord, UnsupportedRecord) as error:
        assert (error.key, error.position) == ("k", 3)


@pytest.mark.parametrize("version", [1, 2, "x", None])
def test_a_newer_form_is_not_called_corrupt(version: object) -> None:
    with pytest.raises(UnsupportedRecord) as caught:
        decode(json.dumps({"type": "t", "data": {}, "v": version}).encode())
    assert not isinstance(caught.value, CorruptRecord)
    for fields in ({}, {"type": "t"}, {"type": 1, "data": []}):
        with pytest.raises(UnsupportedRecord):
            decode(json.dumps({**fields, "v": version}).encode())
