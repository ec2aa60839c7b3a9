"""Records and their ids, as values."""

from __future__ import annotations

import json

from chatstash.history.records.decoding import decode
from chatstash.history.records.record import Record, RecordId, new_record_ids


def test_the_id_tells_time_place_and_size() -> None:
    ids = new_record_ids(3, time_ms=1_790_000_000_123, randomness=b"\xff" * 6)
    assert [str(rid).split(".")[1] for rid in ids] == ["0/3", "1/3", "2/3"]
    assert {rid.time_ms for rid in ids} == {1_790_000_000_123}
    assert [RecordId.parse(str(rid)) for rid in ids] == ids
    assert len(str(ids[0])) == 20


def test_a_time_beyond_the_calendar_is_no_time() -> None:
    (rid,) = new_record_ids(1, time_ms=2**48 - 1, randomness=b"x" * 6)
    assert Record("t", {}, rid).time is None
    assert Record("t", {}, rid).time_ms == 2**48 - 1
    (last,) = new_record_ids(1, time_ms=253_402_300_799_999, randomness=b"x" * 6)
    assert str(Record("t", {}, last).time) == "9999-12-31 23:59:59.999000+00:00"


def test_it_converts_to_plain_json_values() -> None:
    (rid,) = new_record_ids(1, time_ms=1_790_000_000_123, randomness=b"x" * 6)
    raw = f'{{"type":"human","data":{{"content":"a"}},"locale":"de","rid":"{rid}"}}'.encode()
    assert json.loads(json.dumps(decode(raw).to_dict())) == {
        "type": "human",
        "data": {"content": "a"},
        "id": str(rid),
        "time_ms": 1_790_000_000_123,
        "time": "2026-09-21T14:13:20.123+00:00",
        "metadata": {},
        "other": {"locale": "de"},
    }
    own = Record("human", {}, other={"metadata": {"a": 1}}).to_dict()
    assert (own["metadata"], own["other"]) == ({"a": 1}, {})
    foreign = Record("human", {}).to_dict()
    assert (foreign["id"], foreign["time_ms"], foreign["time"]) == (None, None, None)
