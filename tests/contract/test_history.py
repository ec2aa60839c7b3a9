"""The class's members, both colours, against a real Valkey."""

from __future__ import annotations

import asyncio
import datetime as dt
import inspect
import time
from typing import Any

import pytest
from langchain_community.chat_message_histories import UpstashRedisChatMessageHistory as CommunityHistory
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from upstash_redis import Redis

from chatstash import Record, Store, StoreClosed, UnstorableMessage, UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash
from tests.conftest import Call


def _history(upstash: LocalUpstash, session_id: str = "s", **options: object) -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory(session_id, upstash.url, upstash.token, **options)


def test_the_first_five_parameters_are_the_old_ones() -> None:
    ours = list(inspect.signature(UpstashRedisChatMessageHistory).parameters.values())
    theirs = list(inspect.signature(CommunityHistory).parameters.values())
    assert [(p.name, p.default, p.kind) for p in ours[:5]] == [(p.name, p.default, p.kind) for p in theirs]
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in ours[5:])


def test_it_has_every_public_member_of_the_old_class(upstash: LocalUpstash) -> None:
    assert issubclass(UpstashRedisChatMessageHistory, BaseChatMessageHistory)
    theirs = CommunityHistory("s", upstash.url, upstash.token)
    theirs.redis_client.close()
    missing = {name for name in dir(theirs) if not name.startswith("_")} - set(dir(_history(upstash)))
    assert missing == set()


def test_messages_come_back_oldest_first(upstash: LocalUpstash, call: Call) -> None:
    history = _history(upstash)
    call(history, "add_messages", [SystemMessage("a"), HumanMessage("b")])
    call(history, "add_messages", (AIMessage("c"),))
    assert call(history, "messages") == [SystemMessage("a"), HumanMessage("b"), AIMessage("c")]


def test_an_unknown_session_is_empty(upstash: LocalUpstash, call: Call) -> None:
    assert call(_history(upstash, "never used"), "messages") == []


def test_the_short_ways_to_add(upstash: LocalUpstash) -> None:
    history = _history(upstash)
    history.add_user_message("a")
    history.add_user_message(HumanMessage("b", name="ada"))
    history.add_ai_message("c")
    history.add_ai_message(AIMessage("d", id="1"))
    history.add_message(SystemMessage("e"))
    assert history.messages == [
        HumanMessage("a"),
        HumanMessage("b", name="ada"),
        AIMessage("c"),
        AIMessage("d", id="1"),
        SystemMessage("e"),
    ]
    assert str(history) == "Human: a\nHuman: b\nAI: c\nAI: d\nSystem: e"


def test_clear_deletes_the_key(upstash: LocalUpstash, call: Call, run: Call) -> None:
    history = _history(upstash)
    history.add_user_message("a")
    call(history, "clear")
    assert call(history, "messages") == []
    assert run("EXISTS", history.key) == 0
    call(history, "clear")


def test_the_ttl_is_set_with_every_append(upstash: LocalUpstash, call: Call, run: Call) -> None:
    history = _history(upstash, ttl=1000)
    call(history, "add_messages", [HumanMessage("a")])
    assert 990 <= run("TTL", history.key) <= 1000
    run("EXPIRE", history.key, 10)
    call(history, "messages")
    assert run("TTL", history.key) <= 10
    call(history, "add_messages", [HumanMessage("a")])
    assert 990 <= run("TTL", history.key) <= 1000


def test_without_a_ttl_an_expiry_is_left_alone(upstash: LocalUpstash, call: Call, run: Call) -> None:
    history = _history(upstash)
    call(history, "add_messages", [HumanMessage("a")])
    assert run("TTL", history.key) == -1
    run("EXPIRE", history.key, 100)
    call(history, "add_messages", [HumanMessage("a")])
    assert 90 <= run("TTL", history.key) <= 100


def test_the_ttl_is_refreshed_on_reading_where_asked(upstash: LocalUpstash, call: Call, run: Call) -> None:
    history = _history(upstash, ttl=1000, refresh_ttl_on_read=True)
    call(history, "add_messages", [HumanMessage("a")])
    run("EXPIRE", history.key, 10)
    assert call(history, "messages") == [HumanMessage("a")]
    assert 990 <= run("TTL", history.key) <= 1000


@pytest.mark.parametrize("ttl", [1, 10**9])
def test_the_bounds_of_the_ttl(upstash: LocalUpstash, either: Call, run: Call, ttl: int) -> None:
    history = _history(upstash, ttl=ttl)
    either(history, "add_messages", [HumanMessage("a")])
    left, gone = run("PTTL", history.key), -2
    assert left == gone or 0 < left <= ttl * 1000


def test_records_tell_time_and_id(upstash: LocalUpstash, call: Call) -> None:
    history = _history(upstash)
    before = time.time_ns() // 1_000_000
    call(history, "add_messages", [HumanMessage("a"), AIMessage("b")])
    after = time.time_ns() // 1_000_000
    first, second = call(history, "records")
    assert first.id is not None
    assert first.id.batch == second.id.batch
    assert [(record.id.position, record.id.size) for record in (first, second)] == [(0, 2), (1, 2)]
    assert before <= first.time_ms <= after
    assert first.time.tzinfo is dt.UTC
    assert abs(first.time.timestamp() * 1000 - first.time_ms) < 1
    call(history, "add_messages", [HumanMessage("a")])
    assert call(history, "records")[2].id.batch != first.id.batch


def test_a_result_pairs_messages_with_records(upstash: LocalUpstash, call: Call) -> None:
    history = _history(upstash)
    history.add_user_message("a")
    result = call(history, "read")
    assert [message.content for message in result.messages] == ["a"]
    assert [record.data for record in result.records] == [{"content": "a"}]
    assert (result.cursor, result.omitted) == (None, 0)
    with pytest.raises(AttributeError):
        result.omitted = 1


def test_records_of_old_libraries_have_no_id(upstash: LocalUpstash, call: Call, run: Call) -> None:
    history = _history(upstash)
    run("LPUSH", history.key, '{"type":"human","data":{"content":"old"}}')
    (record,) = call(history, "records")
    assert (record.id, record.time, record.time_ms) == (None, None, None)


def test_attributes_may_be_set_as_on_the_old_class(upstash: LocalUpstash, run: Call) -> None:
    history = _history(upstash)
    history.session_id, history.key_prefix, history.ttl = "other", "p:", 50
    history.add_user_message("a")
    assert history.key == "p:other"
    assert 45 <= run("TTL", "p:other") <= 50
    history.ttl = 0
    with pytest.raises(ValueError, match="ttl"):
        history.add_user_message("b")


def test_a_subclass_may_choose_its_own_keys(upstash: LocalUpstash, run: Call) -> None:
    class Tenant(UpstashRedisChatMessageHistory):
        @property
        def key(self) -> str:
            return f"tenant-7/{self.session_id}"

    history = Tenant("s", upstash.url, upstash.token)
    history.add_user_message("a")
    assert run("LLEN", "tenant-7/s") == 1
    assert history.messages == [HumanMessage("a")]


def test_redis_client_is_the_official_one(upstash: LocalUpstash) -> None:
    history = _history(upstash)
    with history.redis_client as client:
        assert isinstance(client, Redis)
        assert client is history.redis_client
        history.add_user_message("a")
        assert client.llen(history.key) == 1


def test_url_and_token_come_from_the_environment(
    upstash: LocalUpstash, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in upstash.environment.items():
        monkeypatch.setenv(name, value)
    call(UpstashRedisChatMessageHistory("s"), "add_messages", [HumanMessage("a")])
    assert call(UpstashRedisChatMessageHistory("s"), "messages") == [HumanMessage("a")]


@pytest.mark.parametrize(
    "session_id", ["ü 😀", "a/b?c#d", 'q"uote', "new\nline", "\x00", "chatstash:list:x", "x" * 30_000, " "]
)
def test_odd_session_ids_work(upstash: LocalUpstash, either: Call, session_id: str) -> None:
    history = _history(upstash, session_id)
    either(history, "add_messages", [HumanMessage("a")])
    assert either(history, "messages") == [HumanMessage("a")]


def test_a_store_is_shared_and_its_defaults_count(upstash: LocalUpstash, run: Call) -> None:
    with Store(upstash.url, upstash.token, key_prefix="p:", ttl=100) as store:
        UpstashRedisChatMessageHistory("s", store=store).add_user_message("a")
        UpstashRedisChatMessageHistory("s", key_prefix="q:", ttl=200, store=store).add_user_message("a")
        assert store.session("s").records()[0].data == {"content": "a"}
        UpstashRedisChatMessageHistory("t", key_prefix="message_store:", store=store).add_user_message("a")
    assert run("EXISTS", "message_store:t") == 1
    assert 95 <= run("TTL", "p:s") <= 100
    assert 195 <= run("TTL", "q:s") <= 200


def test_a_closed_store_says_so(upstash: LocalUpstash) -> None:
    store = Store(upstash.url, upstash.token)
    history = UpstashRedisChatMessageHistory("s", store=store)
    history.add_user_message("a")
    store.close()
    store.close()
    with pytest.raises(StoreClosed, match="closed"):
        _ = history.messages
    with pytest.raises(RuntimeError):
        asyncio.run(history.aget_messages())


def test_a_store_closes_with_its_block(upstash: LocalUpstash) -> None:
    async def use() -> int:
        async with Store(upstash.url, upstash.token) as store:
            return (await store.session("s").aread()).cost.requests

    assert asyncio.run(use()) == 1


def test_an_empty_append_asks_nothing_and_says_so(upstash: LocalUpstash, call: Call) -> None:
    with Store(upstash.url, upstash.token) as store:
        result = call(store.session("s"), "append", [])
    assert (result.length, result.record_ids, result.cost.requests) == (None, [], 0)


@pytest.mark.parametrize(
    "bad", [Record(7, {}), Record("human", "x"), Record("human", {}, None, {"v": 2}), {"type": "human"}, None]
)
def test_a_record_that_could_not_be_read_back_is_not_stored(upstash: LocalUpstash, either: Call, bad: Any) -> None:
    with Store(upstash.url, upstash.token) as store:
        session = store.session("s")
        with pytest.raises(UnstorableMessage, match="Message 1"):
            either(session, "append", [Record("human", {"content": "a"}), bad])
        assert session.records() == []


def test_a_record_of_another_library_gets_an_id_of_ours_when_appended(upstash: LocalUpstash, run: Call) -> None:
    with Store(upstash.url, upstash.token) as store:
        run("LPUSH", "message_store:s", '{"type":"human","data":{"content":"a"},"rid":"theirs","meta":1}')
        session = store.session("s")
        (theirs,) = session.records()
        assert theirs.raw == b'{"type":"human","data":{"content":"a"},"rid":"theirs","meta":1}'
        appended = session.append([theirs])
        assert session.records()[1].id == appended.record_ids[0]
        assert session.records()[1].other == {"meta": 1}
