"""Records that cannot be read never hide the rest."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, SystemMessage

from chatstash import CorruptRecord, Store, UnreadableRecord, UnsupportedRecord, UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash
from tests.conftest import Call

Run = Callable[..., Any]
DAMAGED = {
    "not JSON": "damaged",
    "no object": "[1]",
    "no type": '{"data":{"content":"x"}}',
    "an unknown type": '{"type":"strange","data":{"content":"x"}}',
    "no content": '{"type":"human","data":{}}',
    "empty": "",
}
NEWER = '{"type":"human","data":{"content":"x"},"v":9}'


def _history(upstash: LocalUpstash, **options: Any) -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory("s", upstash.url, upstash.token, **options)


@pytest.fixture
def damaged(upstash: LocalUpstash, run: Run) -> LocalUpstash:
    history = _history(upstash)
    history.add_user_message("first")
    for raw in DAMAGED.values():
        run("LPUSH", history.key, raw)
    run("LPUSH", history.key, NEWER)
    history.add_ai_message("last")
    return upstash


def test_the_error_brings_all_that_can_be_read(damaged: LocalUpstash, call: Call) -> None:
    with pytest.raises(CorruptRecord, match=r"7 more|6 more") as caught:
        call(_history(damaged), "messages")
    error = caught.value
    assert [message.content for message in error.messages] == ["first", "last"]
    assert [record.type for record in error.records] == ["human", "ai"]
    assert [other.position for other in error.unreadable] == list(range(1, 8))
    assert [type(other) for other in error.unreadable] == [CorruptRecord] * 6 + [UnsupportedRecord]
    assert [other.raw.decode() for other in error.unreadable] == [*DAMAGED.values(), NEWER]


@pytest.mark.parametrize(
    ("wanted", "position"), [({"last": 2}, 9), ({"last": 2, "keep_system": True}, 9), ({"last": 20}, 9)]
)
def test_the_error_of_a_window_names_the_place_in_the_conversation(
    upstash: LocalUpstash, run: Run, wanted: dict[str, Any], position: int
) -> None:
    history = _history(upstash)
    history.add_messages([SystemMessage("be kind"), *(HumanMessage(str(number)) for number in range(8))])
    run("LPUSH", history.key, '{"type": "unknown", "data": {"content": "x"}}')
    history.add_user_message("last")
    with pytest.raises(CorruptRecord) as caught:
        history.read(**wanted)
    assert caught.value.position == position


def test_the_records_of_a_history_need_not_be_messages(damaged: LocalUpstash, call: Call) -> None:
    records = call(_history(damaged, on_corrupt="skip"), "records")
    assert [record.type for record in records] == ["human", "strange", "human", "ai"]


def test_a_session_leaves_unknown_types_to_its_caller(damaged: LocalUpstash) -> None:
    with Store(damaged.url, damaged.token) as store:
        with pytest.raises(UnreadableRecord) as caught:
            store.session("s").read()
        assert len(caught.value.records) == 4
        assert len(store.session("s", on_corrupt="skip").read().records) == 4


def test_skipping_reads_on_with_a_warning(damaged: LocalUpstash, call: Call, caplog: pytest.LogCaptureFixture) -> None:
    result = call(_history(damaged, on_corrupt="skip"), "read")
    assert [message.content for message in result.messages] == ["first", "last"]
    assert [record.type for record in result.records] == ["human", "ai"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 7
    for position, record in enumerate(caplog.records, 1):
        assert f"position {position} " in record.getMessage()
        assert "'message_store:s'" in record.getMessage()
        assert record.getMessage().endswith("It was left out.")


def test_a_placeholder_keeps_the_place(damaged: LocalUpstash, caplog: pytest.LogCaptureFixture) -> None:
    result = _history(damaged, on_corrupt="placeholder").read()
    assert len(result.messages) == len(result.records) == 9
    assert [message.content for message in result.messages[::8]] == ["first", "last"]
    assert all(isinstance(message, HumanMessage) for message in result.messages[1:8])
    assert result.records[1].raw == b"damaged"
    assert "not JSON" in result.records[1].other["unreadable"]
    assert all(record.getMessage().endswith("A placeholder was returned.") for record in caplog.records)


def test_the_store_decides_where_the_history_does_not(damaged: LocalUpstash) -> None:
    with Store(damaged.url, damaged.token, on_corrupt="skip") as store:
        assert len(UpstashRedisChatMessageHistory("s", store=store).messages) == 2
        with pytest.raises(CorruptRecord):
            _ = UpstashRedisChatMessageHistory("s", store=store, on_corrupt="raise").messages


def test_nothing_is_changed_by_reading(damaged: LocalUpstash, run: Run) -> None:
    before = run("LRANGE", "message_store:s", 0, -1)
    for choice in ("skip", "placeholder"):
        _ = _history(damaged, on_corrupt=choice).messages
    assert run("LRANGE", "message_store:s", 0, -1) == before


@pytest.mark.parametrize("wrong", ["ignore", "", True, 7])
def test_another_choice_is_refused(upstash: LocalUpstash, wrong: Any) -> None:
    for make in (lambda: _history(upstash, on_corrupt=wrong), lambda: Store(upstash.url, "t", on_corrupt=wrong)):
        with pytest.raises(ValueError, match="on_corrupt"):
            make()
