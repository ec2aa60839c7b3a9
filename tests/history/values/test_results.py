"""Results as plain JSON values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from chatstash import AppendResult, ClearResult, Cost, Cursor, Record, Store, UpstashRedisChatMessageHistory
from chatstash.history.records.record import RecordId
from chatstash.local import LocalUpstash

RID = RecordId("AAAAAAPoAAAAAAAA", 0, 1)
COST = {"requests": 1, "commands": 2, "bytes_sent": 3, "bytes_received": 4}


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (Cost(1, 2, 3, 4), COST),
        (ClearResult(True, Cost(1, 2, 3, 4)), {"existed": True, "cost": COST}),
        (
            AppendResult(2, [RID], Cost(1, 2, 3, 4)),
            {"length": 2, "record_ids": [str(RID)], "cost": COST, "repeated": False},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_they_are_json(result: Any, expected: dict[str, Any]) -> None:
    plain = json.loads(json.dumps(result.to_dict()))
    assert expected.items() <= plain.items()


def test_a_read_has_its_records_and_its_cursor_as_text(upstash: LocalUpstash) -> None:
    with Store(upstash.url, upstash.token) as store:
        history = UpstashRedisChatMessageHistory("s", store=store)
        history.add_messages([HumanMessage("a"), HumanMessage("b")])
        result = history.read(last=1)
        plain = json.loads(json.dumps(result.to_dict()))
        assert plain["records"] == [store.session("s").read(last=1).records[0].to_dict()]
        assert Cursor.parse(plain["cursor"]) == result.cursor
        assert (plain["omitted"], plain["cost"]["requests"]) == (1, 1)
        assert history.read(last=2).to_dict()["cursor"] is None
        assert isinstance(result.records[0], Record)
