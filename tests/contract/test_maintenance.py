"""Erasure, exports and the upkeep of the index: complete, repeatable, and touching nothing of others."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import urllib3
from langchain_core.messages import AIMessage, HumanMessage

from chatstash import (
    ConversationExists,
    DatabaseError,
    Erased,
    Progress,
    ReadOnlyToken,
    Record,
    ScanEstimate,
    SessionNotFound,
    Store,
    UpstashRedisChatMessageHistory,
)
from chatstash.history.records.index import index_keys
from chatstash.history.records.keys import companion_key, owner_of
from chatstash.local import LocalUpstash
from tests.conftest import Call, command

History = UpstashRedisChatMessageHistory
TURN = [HumanMessage("What is 6 * 7?", id="q"), AIMessage("42", id="a")]


@pytest.fixture
def store(upstash: LocalUpstash) -> Iterator[Store]:
    with Store(upstash.url, upstash.token) as store:
        yield store


def _dump(upstash: LocalUpstash) -> dict[str, Any]:
    """Return every key of the database with its value."""
    reads = {
        "string": ("GET",), "list": ("LRANGE", 0, -1), "hash": ("HGETALL",), "zset": ("ZRANGE", 0, -1, "WITHSCORES"),
    }  # fmt: skip
    keys = command(upstash, "KEYS", "*")
    types = _pipeline(upstash, [["TYPE", key] for key in keys])
    values = _pipeline(
        upstash, [[reads[kind][0], key, *reads[kind][1:]] for key, kind in zip(keys, types, strict=True)]
    )
    return dict(zip(keys, values, strict=True))


def _pipeline(upstash: LocalUpstash, commands: list[list[Any]]) -> list[Any]:
    if not commands:
        return []
    headers = {"authorization": f"Bearer {upstash.token}"}
    reply = urllib3.request("POST", f"{upstash.url}/pipeline", json=commands, headers=headers)
    return [each["result"] for each in reply.json()]


def _fill(store: Store, user_id: str | None, **options: Any) -> None:
    """Store something of every kind for a user."""
    for session_id in ("s", "@u/x", "*"):
        if user_id is None and session_id.startswith("@"):
            continue
        history = History(session_id, store=store, user_id=user_id, **options)
        history.add_messages(TURN, idempotency_key="event")
        with history.guarded_turn(replacing="a") as turn:
            turn.add_ai_message(AIMessage("43", id="a"))
        history.replace_message("q", HumanMessage("edited", id="q"))
        draft = history.draft()
        draft.update("half")
    strict = History("strict", store=store, user_id=user_id, delivery="strict")
    strict.add_messages(TURN)
    gone = History("gone", store=store, user_id=user_id)
    gone.add_messages(TURN, idempotency_key="event")
    gone.clear()
    if user_id is not None:
        store.update_session("s", user_id=user_id, title="T", metadata={"a": 1})


USERS = ["bob", "bo", "bob/", "b*", "ü", "[a]", "?"]


def test_nothing_of_an_erased_user_is_left_and_nothing_else_is_touched(
    upstash: LocalUpstash, store: Store, call: Call, run: Callable[..., Any]
) -> None:
    for user_id in (*USERS, None):
        _fill(store, user_id)
    for user_id in USERS:
        run("RPUSH", companion_key("quarantine", History("s", store=store, user_id=user_id).key), "x")
        before = _dump(upstash)
        erased = call(store, "delete_user", user_id)
        after = _dump(upstash)
        assert isinstance(erased, Erased)
        assert sorted(erased.session_ids) == ["*", "@u/x", "s", "strict"]
        assert erased.keys == len(before) - len(after)
        assert {key: before[key] for key in after} == after
        assert not [key for key in after if owner_of(store.key_prefix, user_id) in key]
    assert any("idempotency" in key for key in _dump(upstash))  # those of no user
    assert call(store, "delete_user", "bob")[:2] == ([], 0)


@pytest.mark.parametrize("stop_at", range(1, 5))
def test_an_erasure_that_was_killed_is_run_again(upstash: LocalUpstash, store: Store, stop_at: int) -> None:
    for user_id in ("u", "v"):
        _fill(store, user_id)
    before = _dump(upstash)
    upstash.on_request(_failing_from(upstash, stop_at))
    with Store(upstash.url, upstash.token, retries=0) as killed, pytest.raises(DatabaseError):
        killed.delete_user("u")
    upstash.on_request(None)
    upstash.faults.clear()
    store.delete_user("u")
    after = _dump(upstash)
    assert {key: before[key] for key in after} == after
    assert len(after) == len(before) / 2
    assert not [key for key in after if owner_of(store.key_prefix, "u") in key]


def _failing_from(upstash: LocalUpstash, number: int) -> Callable[[Any], None]:
    """Return what has every request fail from one on, as if the process were killed there."""
    seen = iter(range(1, 1000))

    def note(_: Any) -> None:
        if next(seen) == number - 1:
            upstash.faults.add("request_lost")

    if number == 1:
        upstash.faults.add("request_lost")
    return note


def test_progress_ends_at_the_number_of_keys(store: Store, call: Call, run: Callable[..., Any]) -> None:
    run("EVAL", "for i = 1, 2500 do redis.call('SET', 'other:' .. i, i) end", 0)
    _fill(store, "u")
    seen: list[Progress] = []
    call(store, "delete_user", "u", on_progress=seen.append)
    assert len(seen) >= 3
    assert seen[-1].scanned >= seen[-1].total >= 2500
    assert seen[-1].found == 4


def test_a_user_is_exported_and_read_back(upstash: LocalUpstash, store: Store, call: Call) -> None:
    from chatstash.transfer import import_jsonl

    for session_id in ("a", "b"):
        History(session_id, store=store, user_id="u").add_messages(TURN, metadata={"n": session_id})
    store.update_session("a", user_id="u", title="T", metadata={"x": [1]})
    _fill(store, "other")
    lines = _exported(store, "u", call)
    assert [json.loads(line)["session_id"] for line in lines if "session_id" in json.loads(line)] == ["b", "a"]
    before = [History(name, store=store, user_id="u").records() for name in "ab"]
    store.delete_user("u")
    report = import_jsonl(store, lines)
    assert len(report.imported) == 2
    assert [History(name, store=store, user_id="u").records() for name in "ab"] == before
    sessions = store.list_sessions(user_id="u").sessions
    assert {session.session_id: session.title for session in sessions} == {"a": "T", "b": "What is 6 * 7?"}
    assert _exported(store, "nobody", call) == []


def test_an_export_has_a_session_that_moves_to_the_top_meanwhile(store: Store) -> None:
    for number in range(102):
        store.session(str(number), user_id="u").append([Record("human", {"content": str(number)})])
    exported: list[str] = []
    for line in store.export_user("u"):
        if not exported:
            store.session("0", user_id="u").append([Record("human", {"content": "again"})])
        exported.append(line)
    ids = [header["session_id"] for line in exported if "session_id" in (header := json.loads(line))]
    assert sorted(map(int, ids)) == list(range(102))


def _exported(store: Store, user_id: str, call: Call) -> list[str]:
    if call.__name__ == "call_sync":
        return list(store.export_user(user_id))
    return _collected(store.aexport_user(user_id))


def _collected(items: AsyncIterator[Any]) -> list[Any]:
    import asyncio

    async def collect() -> list[Any]:
        return [item async for item in items]

    return asyncio.run(collect())


def test_reindexing_lists_what_old_libraries_and_stores_without_index_wrote(
    upstash: LocalUpstash, call: Call, run: Callable[..., Any]
) -> None:
    with Store(upstash.url, upstash.token, ttl=900) as plain, Store(upstash.url, upstash.token, index=True) as store:
        for session_id in ("first", "second"):
            History(session_id, store=plain).add_messages(TURN)
        run("RPUSH", "message_store:foreign", '{"type": "human", "data": {"content": "Old\\nquestion"}}')
        run("RPUSH", "message_store:@u/s", '{"type": "ai", "data": {"content": "x"}}')
        run("SET", "message_store:no list", "x")
        run("RPUSH", "message_store:damaged", "x", '{"a":1}')
        History("mine", store=store).add_messages([HumanMessage("Mine")])
        store.update_session("mine", title="T")
        result = call(store, "reindex")
        assert (result.listed, result.dropped) == (6, 0)
        titles = {session.session_id: session.title for session in store.list_sessions().sessions}
        question = "What is 6 * 7?"
        expected = {"first": question, "second": question, "foreign": "Old question", "mine": "T", "damaged": None}
        assert titles == expected
        order = [session.session_id for session in store.list_sessions().sessions]
        assert [name for name in order if name in ("first", "second", "mine")] == ["mine", "second", "first"]
        info = store.get_session("first")
        assert info is not None
        records = History("first", store=plain).records()
        assert (info.created_at, info.updated_at) == (records[0].time_ms, records[1].time_ms)
        assert 0 < run("HTTL", index_keys("message_store:").info, "FIELDS", 1, "sfirst")[0] <= 900
        assert [session.session_id for session in store.list_sessions(user_id="u").sessions] == ["s"]
        before = _dump(upstash)
        assert call(store, "reindex")[:2] == (6, 0)
        assert _dump(upstash) == before
        run("DEL", "message_store:first", "message_store:@u/s")
        assert call(store, "reindex")[:2] == (4, 2)
        assert {session.session_id for session in store.list_sessions().sessions} == {*expected} - {"first"}
        assert store.list_sessions(user_id="u").sessions == []


def test_without_index_only_users_are_reindexed(upstash: LocalUpstash, store: Store, call: Call) -> None:
    History("s", store=store).add_messages(TURN)
    History("s", store=store, user_id="u").add_messages(TURN)
    command(upstash, "DEL", *index_keys(owner_of(store.key_prefix, "u")))
    assert call(store, "reindex").listed == 1
    assert len(store.list_sessions(user_id="u").sessions) == 1
    assert store.list_sessions().sessions == []


def test_a_conversation_is_adopted(upstash: LocalUpstash, call: Call, run: Callable[..., Any]) -> None:
    with Store(upstash.url, upstash.token, index=True) as store:
        for name in ("old", "listed"):
            History(name, store=store).add_messages(TURN)
        run("ZREM", index_keys("message_store:").lasting, "old")
        run("HDEL", index_keys("message_store:").info, "sold")
        store.update_session("listed", title="T", metadata={"a": 1})
        run("EXPIRE", "message_store:old", 500)
        with History("listed", store=store).guarded_turn(replacing="a") as turn:
            turn.add_ai_message(AIMessage("43", id="a"))
        ids = [record.id for record in History("old", store=store).records()]
        moved = call(store, "adopt", "old", "u")
        assert (moved.session_id, moved.user_id, moved.length, moved.cost.requests) == ("old", "u", 2, 2)
        call(store, "adopt", "listed", "u")
        old, listed = (History(name, store=store, user_id="u") for name in ("old", "listed"))
        assert [record.id for record in old.records()] == ids
        assert 0 < run("TTL", old.key) <= 500
        sessions = {session.session_id: session for session in store.list_sessions(user_id="u").sessions}
        assert {name: session.title for name, session in sessions.items()} == {"old": "What is 6 * 7?", "listed": "T"}
        assert sessions["listed"].metadata == {"a": 1}
        assert sessions["old"].updated_at == old.records()[-1].time_ms
        assert store.list_sessions().sessions == []
        assert len(listed.alternatives("a")) == 1
        History("listed", store=store).add_messages(TURN)
        with pytest.raises(ConversationExists):
            call(store, "adopt", "listed", "u")
        with pytest.raises(SessionNotFound):
            call(store, "adopt", "gone", "u")
        for session_id, user_id in (("@u/s", "v"), ("s", ""), ("", "u"), ("s", None)):
            with pytest.raises(ValueError):
                call(store, "adopt", session_id, user_id)


def test_a_scan_finds_every_conversation_and_says_first_what_it_costs(
    store: Store, call: Call, run: Callable[..., Any]
) -> None:
    _fill(store, "u")
    History("plain", store=store).add_messages(TURN)
    run("RPUSH", "elsewhere", "x")
    run("EVAL", "for i = 1, 3000 do redis.call('SET', 'other:' .. i, i) end", 0)
    told: list[ScanEstimate] = []
    found = _scanned(store, call, "*", on_estimate=told.append)
    assert {(each.user_id, each.session_id) for each in found} == {
        (None, "plain"), ("u", "s"), ("u", "@u/x"), ("u", "*"), ("u", "strict"),
    }  # fmt: skip
    assert told[0].keys > 3000
    assert told[0].requests == 4
    assert [each.session_id for each in _scanned(store, call, "pl*")] == ["plain"]
    with pytest.raises(ZeroDivisionError):
        _scanned(store, call, "*", on_estimate=lambda estimate: 1 // 0)


def _scanned(store: Store, call: Call, match: str, **options: Any) -> list[Any]:
    if call.__name__ == "call_sync":
        return list(store.scan_sessions(match, **options))
    return _collected(store.ascan_sessions(match, **options))


def test_bad_arguments_and_tokens(upstash: LocalUpstash, store: Store) -> None:
    before = upstash.stats.requests
    for user_id in ("", None, 7):
        with pytest.raises(ValueError):
            store.delete_user(user_id)  # type: ignore[arg-type]
        with pytest.raises(ValueError):
            store.export_user(user_id)  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        store.scan_sessions("")
    assert upstash.stats.requests == before
    with (
        LocalUpstash(read_only_token="may-read") as other,
        Store(other.url, other.token) as writer,
        Store(other.url, "may-read") as reader,
    ):
        _fill(writer, "u")
        kept = _dump(other)
        for use in (lambda: reader.delete_user("u"), reader.reindex, lambda: reader.adopt("s", "v")):
            with pytest.raises((ReadOnlyToken, SessionNotFound)):
                use()
        assert len(list(reader.export_user("u"))) > 3
        assert _dump(other) == kept
