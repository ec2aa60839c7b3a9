"""No append and no read sets an expiry on what is no list, whatever fails; and what that costs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from chatstash import Budget, DatabaseError, RetryPolicy, Store, UpstashRedisChatMessageHistory, WrongType
from chatstash.history.doctor.doctor import Doctor
from chatstash.langchain.messages import why_unreadable
from chatstash.local import LocalUpstash
from tests.conftest import Call, call_async

Run = Callable[..., Any]
KEY = "message_store:s"
TURN = [HumanMessage("question"), AIMessage("answer")]


def _history(upstash: LocalUpstash, session_id: str = "s", **options: Any) -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory(session_id, upstash.url, upstash.token, **{"ttl": 60, **options})


def _spent(upstash: LocalUpstash, action: Callable[[], object]) -> tuple[int, int]:
    before = upstash.stats
    action()
    spent = upstash.stats - before
    return spent.requests, spent.billed_commands


def test_a_turn_costs_what_it_did_and_a_blind_append_one_command_more(upstash: LocalUpstash, call: Call) -> None:
    blind, read_first = _history(upstash), _history(upstash, "new")
    assert _spent(upstash, lambda: call(blind, "add_messages", TURN)) == (1, 3)
    assert _spent(upstash, lambda: call(blind, "add_messages", TURN)) == (1, 2)
    assert _spent(upstash, lambda: call(read_first, "read")) == (1, 1)
    assert _spent(upstash, lambda: call(read_first, "add_messages", TURN)) == (1, 2)
    call(read_first, "clear")  # another program may use the key now
    assert _spent(upstash, lambda: call(read_first, "add_messages", TURN)) == (1, 3)
    assert [message.content for message in read_first.messages] == ["question", "answer"]


# A window asks for the length, the oldest message, and where duplicates are noted to stand as well.
@pytest.mark.parametrize(("last", "more"), [(None, 0), (3, 3)])
def test_a_blind_read_that_refreshes_costs_one_command_more(
    upstash: LocalUpstash, call: Call, run: Run, last: int | None, more: int
) -> None:
    _history(upstash, ttl=None).add_messages([*TURN, *TURN])
    history = _history(upstash, ttl=60, refresh_ttl_on_read=True, keep_system=last is not None)
    assert _spent(upstash, lambda: call(history, "read", last=last)) == (1, 2 + more)
    other = _history(upstash, "other", refresh_ttl_on_read=True, keep_system=last is not None)
    assert _spent(upstash, lambda: call(other, "read", last=last)) == (1, 3 + more)
    run("RENAME", KEY, "message_store:third")
    third = _history(upstash, "third", refresh_ttl_on_read=True, keep_system=last is not None)
    result = call(third, "read", last=last)
    assert [message.content for message in result.messages] == ["question", "answer", "question", "answer"][
        -(last or 4) :
    ]
    assert 50 < run("TTL", third.key) <= 60


FAULTS: dict[str, dict[str, Any]] = {
    "reply_lost": {},
    "request_lost": {},
    "truncated": {},
    "unavailable": {"applied": True},
    "server_error": {"applied": True},
    "reset": {"applied": True},
    "throttled": {},
}


@pytest.mark.parametrize("times", [1, 2, None])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("count", "expiry"), [(2, None), (2, 5000), (5000, 5000)])
def test_whatever_fails_the_expiry_of_what_is_no_list_is_not_touched(
    upstash: LocalUpstash, run: Run, fault: str, times: int | None, expiry: int | None, count: int
) -> None:
    run("HSET", KEY, "theirs", "1")
    if expiry is not None:
        run("EXPIRE", KEY, expiry)
    upstash.faults.add(fault, times=times, **FAULTS[fault])
    at_once = Budget(retries=2, first_pause=0.0)
    with Store(upstash.url, upstash.token, retry_policy=RetryPolicy(at_once, at_once, at_once)) as store:
        history = UpstashRedisChatMessageHistory("s", store=store, ttl=60, refresh_ttl_on_read=True)
        with pytest.raises(DatabaseError):
            history.add_messages([HumanMessage("x")] * count)
        with pytest.raises(DatabaseError):
            history.read()
    upstash.faults.clear()
    left = run("TTL", KEY)
    assert left == -1 if expiry is None else left > 4900


def test_a_client_that_dies_after_its_first_request_leaves_it_untouched(
    upstash: LocalUpstash, call: Call, run: Run
) -> None:
    run("HSET", KEY, "theirs", "1")

    def refused() -> None:
        with pytest.raises(WrongType, match="It was left as it was"):
            call(_history(upstash), "add_messages", TURN)

    for _ in range(2):
        assert _spent(upstash, refused)[0] == 1
        assert run("TTL", KEY) == -1


def test_what_became_something_else_since_it_was_seen_is_put_right(upstash: LocalUpstash, call: Call, run: Run) -> None:
    history = _history(upstash)
    call(history, "read")
    run("HSET", KEY, "theirs", "1")
    with pytest.raises(WrongType, match="removed again with PERSIST"):
        call(history, "add_messages", TURN)
    assert run("TTL", KEY) == -1
    run("EXPIRE", KEY, 5000)
    with pytest.raises(WrongType, match="It was left as it was"):
        call(history, "add_messages", TURN)
    assert run("TTL", KEY) > 4900


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_knows_what_was_seen(upstash: LocalUpstash) -> None:
    history = _history(upstash)
    history.read()
    before = upstash.stats
    child = os.fork()
    if child == 0:
        try:
            history.add_messages(TURN)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert (upstash.stats - before).billed_commands == 2


def test_more_messages_than_a_script_takes_at_once(upstash: LocalUpstash, call: Call, run: Run) -> None:
    history = _history(upstash)
    messages = [HumanMessage(str(number)) for number in range(9000)]
    assert _spent(upstash, lambda: call(history, "add_messages", messages)) == (2, 3)
    assert run("LLEN", KEY) == 9000
    assert run("TTL", KEY) > 50


def test_in_one_loop_many_blind_appends_are_each_stored_once(upstash: LocalUpstash, run: Run) -> None:
    history = _history(upstash)
    for _ in range(3):
        call_async(history, "add_messages", TURN)
    assert run("LLEN", KEY) == 6


def test_a_key_that_another_program_takes_after_a_clear_keeps_its_expiry(upstash: LocalUpstash, run: Run) -> None:
    history = _history(upstash)
    history.add_messages(TURN)
    history.clear()
    run("SET", KEY, "theirs", "EX", 5000)
    with pytest.raises(WrongType):
        history.add_messages(TURN)
    assert run("TTL", KEY) > 4000


WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "strict": ({"delivery": "strict"}, {}),
    "bounded": ({"max_stored_messages": 4}, {}),
    "with a key": ({}, {"idempotency_key": "evt"}),
    "strict with a key": ({"delivery": "strict"}, {"idempotency_key": "evt"}),
    "bounded with a key": ({"max_stored_messages": 4}, {"idempotency_key": "evt"}),
    "in parts": ({"max_request_bytes": 100_000}, {}),
    "in parts, strict": ({"max_request_bytes": 100_000, "delivery": "strict"}, {}),
    "in parts, bounded": ({"max_request_bytes": 100_000, "max_stored_messages": 4}, {}),
}


@pytest.mark.parametrize("expiry", [None, 5000])
@pytest.mark.parametrize("fault", [None, *FAULTS])
@pytest.mark.parametrize("way", WAYS)
def test_no_way_to_append_touches_the_expiry_of_what_is_no_list(
    upstash: LocalUpstash, run: Run, way: str, fault: str | None, expiry: int | None
) -> None:
    options, arguments = WAYS[way]
    messages = [HumanMessage("x" * 60_000), AIMessage("y" * 60_000)] if way.startswith("in parts") else TURN
    run("HSET", KEY, "theirs", "1")
    if expiry is not None:
        run("EXPIRE", KEY, expiry)
    if fault is not None:
        upstash.faults.add(fault, times=1, **FAULTS[fault])
    with pytest.raises(DatabaseError):
        _history(upstash, **options).add_messages(messages, **arguments)
    upstash.faults.clear()
    assert run("HGET", KEY, "theirs") == "1"
    left = run("TTL", KEY)
    assert left == -1 if expiry is None else left > 4900


@pytest.mark.parametrize("options", [{}, {"delivery": "strict"}, {"max_stored_messages": 4}])
@pytest.mark.parametrize("expiry", [None, 5000])
def test_a_guarded_turn_touches_no_expiry_of_what_took_its_keys_place(
    upstash: LocalUpstash, run: Run, options: dict[str, Any], expiry: int | None
) -> None:
    history = _history(upstash, **options)
    history.add_messages(TURN)
    with pytest.raises(DatabaseError), history.guarded_turn() as turn:
        run("DEL", KEY)
        run("HSET", KEY, "theirs", "1")
        if expiry is not None:
            run("EXPIRE", KEY, expiry)
        turn.add_messages(TURN)
    left = run("TTL", KEY)
    assert left == -1 if expiry is None else left > 4900


READS: dict[str, Callable[[UpstashRedisChatMessageHistory, Any], Any]] = {
    "whole": lambda history, _: history.read(),
    "window": lambda history, _: history.read(last=2, keep_system=True),
    "tokens": lambda history, _: history.read(max_tokens=2, token_counter=len),
    "page": lambda history, cursor: history.read(before=cursor, limit=2),
    "count": lambda history, _: history.count(),
    "turn": lambda history, _: history.guarded_turn().__enter__(),
}


@pytest.mark.parametrize("expiry", [None, 5000])
@pytest.mark.parametrize("fault", [None, "reply_lost", "server_error"])
@pytest.mark.parametrize("other", [("SET", KEY, "x"), ("HSET", KEY, "f", "x")])
@pytest.mark.parametrize("seen", [False, True])
@pytest.mark.parametrize("way", READS)
def test_no_way_to_read_leaves_an_expiry_on_what_is_no_list(
    upstash: LocalUpstash, run: Run, way: str, seen: bool, other: Any, fault: str | None, expiry: int | None
) -> None:
    _history(upstash, "cursor").add_messages([*TURN, *TURN])
    cursor = _history(upstash, "cursor").read(last=1).cursor
    history = _history(upstash, refresh_ttl_on_read=True)
    if seen:
        history.read()
    run(*other)
    if expiry is not None and not seen:
        run("EXPIRE", KEY, expiry)
    if fault is not None:
        upstash.faults.add(fault, times=1, **FAULTS.get(fault, {}))
    with pytest.raises(DatabaseError):
        READS[way](history, cursor)
    left = run("TTL", KEY)
    assert left == -1 if expiry is None or seen else left > 4900


def test_the_doctor_sets_an_expiry_only_on_lists(upstash: LocalUpstash, run: Run) -> None:
    history = _history(upstash, ttl=None)
    with Store(upstash.url, upstash.token) as store, contextlib.closing(Doctor(store, why_unreadable)) as doctor:
        history.add_messages(TURN)
        assert doctor.keys_without_expiry([KEY]) == [KEY]
        for other in (
            ("SET", KEY, "x"),
            ("HSET", KEY, "f", "x"),
            ("SADD", KEY, "x"),
            ("ZADD", KEY, 1, "x"),
            ("DEL", KEY),
        ):
            run("DEL", KEY)
            run(*other)
            assert not doctor.set_expiry(KEY, 60)
            assert run("TTL", KEY) == (-2 if other[0] == "DEL" else -1)
        history.add_messages(TURN)
        run("EXPIRE", KEY, 5000)
        assert not doctor.set_expiry(KEY, 60)
        assert run("TTL", KEY) > 4900
