"""Restoring a conversation through the local server: its bytes, all or none, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage

from chatstash import ConversationExists, Outcome, OutcomeUnknown, Record, Store, UpstashRedisChatMessageHistory
from chatstash.history.operations.contents import entries_of
from chatstash.history.records.record import new_record_ids
from chatstash.local import LocalUpstash
from tests.conftest import Call

Run = Callable[..., Any]

FOREIGN = b'{"type": "human", "data": {"content": "caf\\u00e9", "type": "human"}}'
BINARY = b"\xff\x00 not \xc3 text"


def _store(upstash: LocalUpstash, **options: Any) -> Store:
    return Store(upstash.url, upstash.token, max_request_bytes=100_000, **options)


def _stored(store: Store, name: str) -> list[bytes]:
    session = store.session(name)
    return list(session.run(session.reading_unchanged()).stored)


@pytest.mark.parametrize("extra", [[], [BINARY], [b"x" * 80_000, b"y" * 80_000]], ids=["text", "binary", "large"])
def test_records_keep_their_bytes_and_ids(upstash: LocalUpstash, call: Call, run: Run, extra: list[bytes]) -> None:
    with _store(upstash, ttl=60) as store:
        ids = (
            store.session("from").append([Record("human", {"content": "a"}), Record("ai", {"content": "ü"})]).record_ids
        )
        raws = [*_stored(store, "from"), FOREIGN, b"damaged", *extra]
        result = call(store.session("to"), "restore", entries_of(raws, "k"))
        assert _stored(store, "to") == raws
        assert (result.length, result.record_ids) == (len(raws), ids)
        assert 0 < run("TTL", store.session("to").key) <= 60
        assert run("KEYS", "chatstash:staging:*") == []


def test_it_costs_one_request_and_four_commands(upstash: LocalUpstash, call: Call) -> None:
    with _store(upstash) as store:
        result = call(store.session("to"), "restore", [Record("human", {"content": "a"})])
        assert (result.cost.requests, result.cost.commands, result.record_ids) == (1, 4, [])
        assert call(store.session("none"), "restore", []).length is None


@pytest.mark.parametrize("raw", [FOREIGN, BINARY])
def test_a_conversation_that_exists_is_left_alone(upstash: LocalUpstash, call: Call, raw: bytes) -> None:
    with _store(upstash) as store:
        session = store.session("s")
        session.append([Record("human", {"content": "here before"})])
        before = _stored(store, "s")
        with pytest.raises(ConversationExists, match="exists already") as caught:
            call(session, "restore", entries_of([raw], "k"))
        assert caught.value.key == session.key
        assert _stored(store, "s") == before


def test_a_bounded_conversation_is_restored_whole(upstash: LocalUpstash, call: Call) -> None:
    with _store(upstash) as store:
        raws = [b'{"type":"human","data":{"content":"%d"}}' % number for number in range(5)]
        call(store.session("s", max_stored_messages=2), "restore", entries_of(raws, "k"))
        assert _stored(store, "s") == raws


@pytest.mark.parametrize("raw", [FOREIGN, BINARY])
@pytest.mark.parametrize("fault", [("reply_lost", {}), ("request_lost", {}), ("reset", {"applied": True})])
def test_it_is_stored_once_whatever_is_lost(
    upstash: LocalUpstash, either: Call, fault: tuple[str, dict[str, Any]], raw: bytes
) -> None:
    with _store(upstash) as store:
        upstash.faults.next(fault[0], **fault[1])
        either(store.session("s"), "restore", entries_of([raw, FOREIGN], "k"))
        assert _stored(store, "s") == [raw, FOREIGN]


def test_a_lost_reply_can_be_asked_about_later(upstash: LocalUpstash, either: Call) -> None:
    with _store(upstash, retries=0) as store:
        for kind, outcome in (("reply_lost", Outcome.STORED), ("request_lost", Outcome.NOT_STORED)):
            session = store.session(kind)
            upstash.faults.next(kind)
            with pytest.raises(OutcomeUnknown) as caught:
                either(session, "restore", [Record("human", {"content": "a"})])
            assert either(session, "check_outcome", caught.value, in_flight_seconds=0) is outcome


def test_a_late_request_after_a_clear_stores_nothing(upstash: LocalUpstash, either: Call) -> None:
    with _store(upstash) as store:
        session = store.session("s")
        either(session, "restore", [Record("human", {"content": "a"})])
        session.clear()
        either(session, "restore", [Record("human", {"content": "b"})])
        assert [record.data["content"] for record in session.records()] == ["b"]


def test_what_was_restored_is_read_as_before(upstash: LocalUpstash, either: Call) -> None:
    with _store(upstash) as store:
        history = UpstashRedisChatMessageHistory("a", store=store)
        history.add_messages([HumanMessage("q"), AIMessage("a", usage_metadata=None)])
        either(store.session("b"), "restore", history.read().records)
        copy = UpstashRedisChatMessageHistory("b", store=store)
        assert copy.messages == history.messages
        assert [record.id for record in copy.read().records] == [record.id for record in history.read().records]
        copy.add_messages([HumanMessage("more")])
        assert len(copy.messages) == 3


def test_the_index_shows_it_with_the_times_of_its_records(upstash: LocalUpstash, either: Call) -> None:
    with _store(upstash, index=True, ttl=60) as store:
        ids = [new_record_ids(1, time_ms=ms, randomness=b"x" * 6)[0] for ms in (1_700_000_000_000, 1_700_000_060_000)]
        records = [Record("human", {"content": "Old question"}, ids[0]), Record("ai", {"content": "a"}, ids[1])]
        store.session("now").append([Record("human", {"content": "now"})])
        result = either(store.session("old"), "restore", records)
        assert (result.indexed, result.cost.requests) == (True, 1)
        assert [each.session_id for each in store.list_sessions().sessions] == ["now", "old"]
        info = store.get_session("old")
        assert info is not None
        assert (info.created_at, info.updated_at) == (1_700_000_000_000, 1_700_000_060_000)
        assert info.title == "Old question"
        (future,) = new_record_ids(1, time_ms=2**48 - 1, randomness=b"x" * 6)
        either(store.session("future"), "restore", [Record("human", {"content": "x"}, future)])
        first = store.list_sessions().sessions[0]
        assert (first.session_id, first.updated_at < 2**47) == ("future", True)


def test_a_cache_notices_what_was_restored(upstash: LocalUpstash, either: Call) -> None:
    with _store(upstash, cache_bytes=10**6) as store:
        assert either(store.session("s"), "records") == []
        either(store.session("s"), "restore", entries_of([FOREIGN], "k"))
        (record,) = either(store.session("s"), "records")
        assert record.raw == FOREIGN


_numbers = iter(range(10**9))


@given(
    st.lists(
        st.binary(min_size=1, max_size=40) | st.text(min_size=1, max_size=20).map(str.encode), min_size=1, max_size=6
    )
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_restored(upstash: LocalUpstash, raws: list[bytes]) -> None:
    with _store(upstash) as store:
        name = f"any-{next(_numbers)}"
        store.session(name).restore(entries_of(raws, "k"))
        assert _stored(store, name) == raws
