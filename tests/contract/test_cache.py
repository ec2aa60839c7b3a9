"""Reading with a cache, through the real server: what it costs, and that it is never stale."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import pickle
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_community.chat_message_histories import UpstashRedisChatMessageHistory as CommunityHistory
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from chatstash import CacheStats, Store, UpstashRedisChatMessageHistory, WrongType
from chatstash.history.doctor.doctor import Doctor
from chatstash.langchain.messages import why_unreadable
from chatstash.local import Limits, LocalUpstash
from tests.conftest import Call, call_async, call_sync, command

Run = Callable[..., Any]
KEY = "message_store:s"


def _store(upstash: LocalUpstash, cache_bytes: int | None = 10**7, **options: Any) -> Store:
    return Store(upstash.url, upstash.token, cache_bytes=cache_bytes, **options)


def _history(store: Store, session_id: str = "s") -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory(session_id, store=store)


@pytest.fixture
def old(upstash: LocalUpstash) -> Iterator[CommunityHistory]:
    """Make the old class's history; its client is closed, which it does not do itself."""
    history = CommunityHistory("s", upstash.url, upstash.token)
    with contextlib.closing(history.redis_client):
        yield history


def _turn(number: int) -> list[BaseMessage]:
    return [HumanMessage(f"{number}q"), AIMessage(f"{number}a")]


def _turns(first: int, last: int) -> list[BaseMessage]:
    return [message for number in range(first, last) for message in _turn(number)]


def _texts(messages: list[BaseMessage]) -> list[str]:
    return [str(message.content) for message in messages]


@pytest.mark.parametrize("options", [{}, {"max_stored_messages": 1000}, {"read_last": 500}])
def test_the_next_turn_costs_what_is_new(upstash: LocalUpstash, either: Call, options: dict[str, Any]) -> None:
    with _store(upstash, ttl=60, **options) as store:
        history = _history(store)
        history.add_messages([HumanMessage("x" * 200)] * 1000)
        kept = len(either(history, "messages"))
        for number in range(5):
            either(history, "add_messages", [HumanMessage(f"{number}" * 200), AIMessage(f"{number}" * 200)])
            before = upstash.stats
            found = either(history, "read")
            spent = upstash.stats - before
            commands = 4 if "read_last" in options else 3
            assert (spent.requests, spent.commands) == (found.cost.requests, found.cost.commands) == (1, commands)
            assert found.cost.bytes_sent + found.cost.bytes_received < 3000
            assert [len(message.content) for message in found.messages[-2:]] == [200, 200]
            assert len(found.messages) == (kept if options else kept + 2 * (number + 1))
        assert store.cache_stats().hits == 5


def test_the_expiry_is_refreshed_in_the_same_request(upstash: LocalUpstash, run: Run) -> None:
    with _store(upstash, ttl=1000, refresh_ttl_on_read=True) as store:
        history = _history(store)
        history.add_messages(_turns(0, 10))
        _ = history.messages
        run("EXPIRE", KEY, 10)
        found = history.read()
        assert (found.cost.requests, found.cost.commands, len(found.messages)) == (1, 4, 20)
        assert run("TTL", KEY) > 900


def test_the_leading_system_message_is_asked_for_each_time(upstash: LocalUpstash, run: Run) -> None:
    with _store(upstash, read_last=10, keep_system=True) as store:
        history = _history(store)
        history.add_messages([SystemMessage("be kind"), *_turns(0, 20)])
        _ = history.messages
        run("LSET", KEY, -1, json.dumps({"type": "system", "data": {"content": "be brief"}}))
        found = history.read()
        assert (found.cost.requests, found.cost.commands, store.cache_stats().hits) == (1, 5, 1)
        assert _texts(found.messages) == ["be brief", *_texts(_turns(15, 20))]
        assert found.omitted == 30


def test_what_does_not_hold_any_more_costs_one_request_more(upstash: LocalUpstash, call: Call, run: Run) -> None:
    with _store(upstash) as store, _store(upstash, None) as other:
        history = _history(store)
        for number in range(3):
            _history(other).clear()
            _history(other).add_messages(_turns(number, number + 10))
            found = call(history, "read")
            assert _texts(found.messages) == _texts(_turns(number, number + 10))
            assert found.cost.requests == (2 if number else 1)
        run("DEL", KEY)
        found = call(history, "read")
        assert (found.messages, found.cost.requests) == ([], 1)
        assert store.cache_stats() == CacheStats(0, 0, 1, 3)


def test_a_key_that_holds_something_else(upstash: LocalUpstash, run: Run) -> None:
    with _store(upstash) as store:
        history = _history(store)
        history.add_messages(_turns(0, 10))
        _ = history.messages
        run("SET", KEY, "x")
        with pytest.raises(WrongType, match="not a conversation"):
            history.read()


def test_conversations_of_the_old_class_are_read_whole(upstash: LocalUpstash, old: CommunityHistory) -> None:
    for message in _turns(0, 6):
        old.add_message(message)
    with _store(upstash) as store:
        history = _history(store)
        for number in range(6, 8):
            found = history.read()
            assert (_texts(found.messages), found.cost.requests) == (_texts(_turns(0, number)), 1)
            for message in _turn(number):
                old.add_message(message)
        assert store.cache_stats() == CacheStats(0, 0, 0, 2)
        history.add_messages(_turn(8))
        _ = history.messages
        old.add_message(_turn(9)[0])
        assert _texts(history.messages)[-3:] == ["8q", "8a", "9q"]
        assert store.cache_stats().hits == 1


def test_all_histories_of_a_store_share_it_and_none_shares_its_messages(upstash: LocalUpstash) -> None:
    with _store(upstash) as store:
        message = HumanMessage("text", additional_kwargs={"list": [1]}, response_metadata={"a": {"b": [2]}})
        _history(store).add_messages([message] * 10)
        first = _history(store).messages
        for changed in first:
            changed.content = "changed"
            changed.additional_kwargs["list"].append(2)
            changed.response_metadata["a"]["b"].clear()
        first.clear()
        second = _history(store).messages
        assert second == [message] * 10
        session = store.session("s").read().records
        session[0].data["additional_kwargs"]["list"].append(3)
        assert store.session("s").read().records[0].data["additional_kwargs"] == {"list": [1]}
        assert store.cache_stats().hits == 3


def test_a_record_that_cannot_be_read_is_left_out_each_time(upstash: LocalUpstash, run: Run) -> None:
    with _store(upstash, on_corrupt="skip") as store:
        history = _history(store)
        history.add_messages(_turns(0, 10))
        run("LPUSH", KEY, "not JSON")
        history.add_messages(_turns(10, 11))
        for _ in range(3):
            assert _texts(history.messages) == _texts(_turns(0, 11))
        assert store.cache_stats().hits == 2


def test_a_duplicate_is_hidden_and_removed(upstash: LocalUpstash, run: Run) -> None:
    with _store(upstash) as store:
        history = _history(store)
        history.add_messages(_turns(0, 10))
        _ = history.messages
        run("LPUSH", KEY, *run("LRANGE", KEY, 0, 1)[::-1])
        for _ in range(3):
            assert _texts(history.messages) == _texts(_turns(0, 10))
        assert run("LLEN", KEY) == 20


def test_repairs_are_seen(upstash: LocalUpstash, run: Run) -> None:
    with _store(upstash, on_corrupt="skip", tool_calls="stored") as store:
        history = _history(store)
        history.add_messages(_turns(0, 3))
        history.add_messages([AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}])])
        run("LPUSH", KEY, "not JSON")
        history.add_messages(_turns(3, 10))
        before = history.messages
        # One record goes and one comes: the length stays as it was.
        _repair(store)
        assert run("LLEN", KEY) == 22
        after = history.messages
        assert (len(before), len(after)) == (21, 22)
        assert after == UpstashRedisChatMessageHistory("s", upstash.url, upstash.token).messages
        assert history.messages == after
        assert store.cache_stats().hits == 1


def _repair(store: Store) -> None:
    with contextlib.closing(Doctor(store, why_unreadable, abandoned_after=0)) as doctor:
        assert doctor.repair(doctor.examine(KEY), lambda finding: None) == []


def test_repairs_increase_the_generation_and_change_nothing_else_of_the_newest(
    upstash: LocalUpstash, run: Run, old: CommunityHistory
) -> None:
    with _store(upstash) as store:
        history = _history(store)
        history.add_messages(_turns(0, 2))
        (newest,) = run("LRANGE", KEY, 0, 0)
        before = history.read(last=1)
        generations = {0}
        for _ in range(2):
            run("RPUSH", KEY, "not JSON")
            _repair(store)
            (counted,) = run("LRANGE", KEY, 0, 0)
            generation = int(counted.removeprefix(f'{newest[:-1]},"g":').removesuffix("}"))
            assert max(generations) < generation <= 999_999_999
            generations.add(generation)
        assert _texts(history.messages) == _texts(old.messages) == _texts(_turns(0, 2))
        assert _texts(history.read(before=before.cursor).messages) == ["0q", "0a", "1q"]
        history.add_messages(_turns(2, 4))
        assert _texts(history.read(before=before.cursor).messages) == ["0q", "0a", "1q"]
        run("LPUSH", KEY, run("LINDEX", KEY, 4))
        assert history.count() == 8


def test_repairs_of_conversations_without_ids_count_nothing_up(upstash: LocalUpstash, run: Run) -> None:
    with _store(upstash) as store:
        record = json.dumps({"type": "human", "data": {"content": '"rid":"AAAAAAAAAAAAAAAA.0/1"}'}})
        run("LPUSH", KEY, record, "not JSON", record)
        _repair(store)
        assert run("LRANGE", KEY, 0, -1) == [record, record]


def test_a_guarded_turn_reads_by_it(upstash: LocalUpstash) -> None:
    with _store(upstash) as store:
        history = _history(store)
        history.add_messages(_turns(0, 10))
        for number in range(10, 13):
            with history.guarded_turn() as turn:
                assert _texts(turn.messages) == _texts(_turns(0, number))
                turn.add_messages(_turn(number))
        assert store.cache_stats().hits == 2


def test_a_reply_over_the_limit_is_read_in_pages() -> None:
    with LocalUpstash(plan=Limits(max_request_bytes=120_000)) as upstash, _store(upstash) as store:
        history = _history(store)
        history.add_messages(_turns(0, 50))
        assert len(history.messages) == 100
        large = [HumanMessage("x" * 40_000)] * 4
        for message in large:
            history.add_messages([message])
        assert history.messages[100:] == large
        history.add_messages(_turns(50, 51))
        assert _texts(history.messages)[104:] == _texts(_turns(50, 51))


def test_a_read_only_token_has_it_too(call: Call) -> None:
    with LocalUpstash(read_only_token="ro") as upstash:
        with _store(upstash) as store:
            _history(store).add_messages(_turns(0, 10))
        with Store(upstash.url, "ro", cache_bytes=10**6) as store:
            for _ in range(3):
                assert len(call(_history(store), "messages")) == 20
            assert store.cache_stats().hits == 2


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "1", 2**51])
def test_an_invalid_cache_size_is_refused(upstash: LocalUpstash, value: Any) -> None:
    with pytest.raises(ValueError, match="cache_bytes must be a whole number from 1"):
        _store(upstash, value)


def test_without_a_cache_all_is_0(upstash: LocalUpstash) -> None:
    with _store(upstash, None) as store:
        _history(store).add_messages(_turns(0, 10))
        _ = _history(store).messages
        assert store.cache_stats() == CacheStats()


def test_it_takes_no_more_memory_than_it_may(upstash: LocalUpstash) -> None:
    with _store(upstash, 50_000) as store:
        for number in range(20):
            history = _history(store, f"{number}")
            history.add_messages(_turns(0, 40))
            _ = history.messages
            assert 0 < store.cache_stats().bytes <= 50_000
        assert 1 < store.cache_stats().conversations < 20
        assert len(_history(store, "0").messages) == 80


def test_closing_empties_it(upstash: LocalUpstash) -> None:
    store = _store(upstash)
    _history(store).add_messages(_turns(0, 10))
    _ = _history(store).messages
    assert store.cache_stats().conversations == 1
    store.close()
    assert store.cache_stats().conversations == 0


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda store: pickle.loads(pickle.dumps(store))])
def test_a_copy_has_an_empty_one(
    upstash: LocalUpstash, copied: Callable[[Store], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in upstash.environment.items():
        monkeypatch.setenv(name, value)
    with _store(upstash) as store:
        _history(store).add_messages(_turns(0, 10))
        _ = _history(store).messages
        with copied(store) as other:
            assert other.cache_stats() == CacheStats()
            for _ in range(2):
                assert len(_history(other).messages) == 20
            assert other.cache_stats().hits == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes fork")
def test_a_child_begins_with_an_empty_one(upstash: LocalUpstash) -> None:
    with _store(upstash) as store:
        _history(store).add_messages(_turns(0, 10))
        _ = _history(store).messages
        child = os.fork()
        if child == 0:
            os._exit(store.cache_stats() != CacheStats())
        assert os.waitpid(child, 0)[1] == 0


def _edit(upstash: LocalUpstash, at: int) -> None:
    """Edit a record in place, and count up the generation of the newest with an id, in one step."""
    script = """
local length = redis.call('LLEN', KEYS[1])
if length == 0 then return end
local at = tonumber(ARGV[1]) % length
redis.call('LSET', KEYS[1], at, (string.gsub(redis.call('LINDEX', KEYS[1], at), '"content":"', '"content":"e', 1)))
for index = 0, length - 1 do
  local raw = redis.call('LINDEX', KEYS[1], index)
  local bare, generation = string.match(raw, '^(.*),"g":(%d+)}$')
  if string.find(raw, '"rid"', 1, true) then
    redis.call('LSET', KEYS[1], index, (bare or string.sub(raw, 1, -2)) .. ',"g":' .. ((generation or 0) + 1) .. '}')
    return
  end
end
"""
    command(upstash, "EVAL", script, 1, KEY, at)


_STEPS = st.one_of(
    st.tuples(st.just("add"), st.integers(1, 4)),
    st.tuples(st.just("add elsewhere"), st.integers(1, 4)),
    st.tuples(st.just("add as of old"), st.integers(1, 2)),
    st.tuples(st.just("trim"), st.integers(0, 30)),
    st.tuples(st.just("clear"), st.just(0)),
    st.tuples(st.just("expire"), st.just(0)),
    st.tuples(st.just("edit"), st.integers(0, 100)),
    st.tuples(st.just("read"), st.none() | st.integers(1, 30)),
    st.tuples(st.just("read"), st.none() | st.integers(1, 30)),
    st.tuples(st.just("read"), st.none() | st.integers(1, 30)),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(_STEPS, max_size=25), cap=st.none() | st.integers(8, 40), colour=st.booleans())
def test_what_is_read_is_what_is_stored_whatever_is_done(
    upstash: LocalUpstash, old: CommunityHistory, steps: list[tuple[str, int | None]], cap: int | None, colour: bool
) -> None:
    call = call_async if colour else call_sync
    upstash.flush()
    numbers = iter(range(10_000))
    with _store(upstash, max_stored_messages=cap) as store, _store(upstash, None, max_stored_messages=cap) as other:
        _history(other).add_messages(_turns(0, 4))
        for name, number in [*steps, ("read", None)]:
            messages = [HumanMessage(f"{next(numbers)}") for _ in range(number or 0)]
            match name:
                case "add":
                    call(_history(store), "add_messages", messages)
                case "add elsewhere":
                    _history(other).add_messages(messages)
                case "add as of old":
                    old.add_messages(messages)
                case "trim":
                    command(upstash, "LTRIM", KEY, 0, (number or 0) - 1)
                case "clear":
                    _history(other).clear()
                case "expire":
                    command(upstash, "PEXPIRE", KEY, 0)
                case "edit":
                    _edit(upstash, number or 0)
                case _:
                    found = call(_history(store), "read", last=number)
                    expected = _history(other).read(last=number)
                    assert (found.messages, found.omitted) == (expected.messages, expected.omitted)
                    assert (found.records, found.cursor) == (expected.records, expected.cursor)
                    assert found.cost.requests <= expected.cost.requests + 1


def test_among_many_writers_no_read_is_stale_or_mixed(upstash: LocalUpstash) -> None:
    """Each reads its own writes, in order, none twice; what is trimmed is the oldest."""
    cap = 60
    done = threading.Event()

    def write(writer: int) -> None:
        with _store(upstash, max_stored_messages=cap) as own:
            for number in range(60):
                _history(own).add_messages([HumanMessage(f"{writer}/{number}"), HumanMessage(f"{writer}/{number}b")])
                _check(_texts(_history(own).messages), own=f"{writer}/{number}")

    def _check(texts: list[str], own: str | None = None) -> None:
        assert len(texts) <= cap
        assert len(set(texts)) == len(texts)
        for writer in range(4):
            numbers = [int(text.split("/")[1].rstrip("b")) for text in texts if text.startswith(f"{writer}/")]
            assert numbers == sorted(numbers)
            assert not numbers or set(numbers) == set(range(numbers[0], numbers[-1] + 1))
        if own is not None and len(texts) < cap:
            assert own in texts

    def watch() -> int:
        with _store(upstash, max_stored_messages=cap) as store:
            while not done.is_set():
                _check(_texts(_history(store).messages))
                _check(_texts(_history(store).read(last=random.choice([30, 50])).messages))
            return store.cache_stats().hits

    with ThreadPoolExecutor(6) as threads:
        watchers = [threads.submit(watch) for _ in range(2)]
        try:
            list(threads.map(write, range(4)))
        finally:
            done.set()
        assert sum(watcher.result() for watcher in watchers) > 0
    with _store(upstash) as store:
        assert len(_history(store).messages) == cap


def test_records_that_are_appended_elsewhere_take_no_generation_along(upstash: LocalUpstash, run: Run) -> None:
    with _store(upstash) as store:
        _history(store).add_messages(_turns(0, 10))
        run("RPUSH", KEY, "not JSON")
        _repair(store)
        copied = _history(store).read().records
        assert "g" in copied[-1].other
        store.session("other").append(copied)
        for _ in range(2):
            assert len(store.session("other").records()) == 20
        assert store.cache_stats().hits == 1
