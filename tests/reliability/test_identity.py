"""One message, one place, whatever was edited meanwhile and whatever the clocks say."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from chatstash import Budget, Outcome, OutcomeUnknown, RetryPolicy, Store, UpstashRedisChatMessageHistory
from chatstash.history.doctor.doctor import Doctor
from chatstash.history.operations import prepare
from chatstash.langchain.messages import why_unreadable
from chatstash.local import Fault, LocalUpstash
from tests.conftest import Call, call_sync, command

Run = Callable[..., Any]
TURN = [HumanMessage("question"), AIMessage("answer")]
SECOND, DAY = 1_000_000_000, 86_400_000_000_000


def _history(upstash: LocalUpstash, **options: Any) -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory("s", upstash.url, upstash.token, **{"timeout": 60.0, **options})


def _texts(messages: Any) -> list[str]:
    return [str(message.content) for message in messages]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clock that record ids are made by; `ahead` is in nanoseconds."""
    real = time.time_ns
    clock = SimpleNamespace(ahead=0)
    fake = SimpleNamespace(**{**vars(time), "time_ns": lambda: real() + clock.ahead})
    monkeypatch.setattr(prepare, "time", fake)
    return clock


class Late:
    """An append whose first request is held up and settled meanwhile; `arrive` lets it through."""

    def __init__(self, upstash: LocalUpstash, append: Callable[[], Any]) -> None:
        self._upstash = upstash
        upstash.faults.next("applied_late", held=True)
        append()
        assert len(upstash.held) == 1

    def arrive(self) -> None:
        assert self._upstash.release() == 1
        assert not self._upstash.held


def _doctor(upstash: LocalUpstash) -> None:
    with Store(upstash.url, upstash.token) as store:
        doctor = Doctor(store, why_unreadable, abandoned_after=0)
        for key in list(doctor.list_keys()):
            assert not doctor.repair(doctor.examine(key.decode()), lambda _: None)
        doctor.close()


def _damage(run: Run) -> None:
    run("RPUSH", "message_store:s", "damaged")


# The doctor writes into the newest record: of a turn of one message, that is the only one to recognise it by.
@pytest.mark.parametrize("turn", [TURN, TURN[:1]], ids=["two", "one"])
@pytest.mark.parametrize("guarded", [False, True])
def test_a_repair_before_the_settlement_stores_nothing_twice(
    upstash: LocalUpstash, run: Run, guarded: bool, turn: list[Any]
) -> None:
    def between(_: float = 0) -> float:
        _doctor(upstash)
        return 0.0

    budget = Budget(timeout=60, jitter=between)
    with Store(upstash.url, upstash.token, retry_policy=RetryPolicy(append=budget)) as store:
        history = UpstashRedisChatMessageHistory("s", store=store, on_corrupt="skip")
        history.add_user_message("before")
        _damage(run)
        if guarded:
            with history.guarded_turn() as guard:
                guard.add_messages(turn)
                upstash.faults.next("reply_lost")
        else:
            upstash.faults.next("reply_lost")
            history.add_messages(turn)
        assert b'"g":' in "".join(run("LRANGE", history.key, 0, -1)).encode()
        assert _texts(history.messages) == ["before", *_texts(turn)]
        assert run("LLEN", history.key) == 1 + len(turn)


WAYS = ("window", "page", "tokens", "count", "cached", "whole")


def _seen(call: Call, history: UpstashRedisChatMessageHistory, way: str, last: int) -> Any:
    """Return what one way of reading shows, and check that it says what it cost."""
    if way == "count":
        return call(history, "count")
    if way == "whole":
        result = call(history, "read")
        return _texts(result.messages)[-last:]
    if way == "tokens":
        result = call(history, "read", max_tokens=last, token_counter=len)
    elif way == "page":
        result = call(history, "read", before=history.read(last=1).cursor, limit=last)
        return [*_texts(result.messages), *_texts(history.read(last=1).messages)][-last:]
    else:
        result = call(history, "read", last=last)
    return _texts(result.messages)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("ahead", "between", "last"), [(5 * SECOND, 1, 1), (DAY, 30, 1), (DAY, 30, 5), (-DAY, 30, 1), (0, 30, 1)]
)
def test_a_late_request_shows_nothing_twice_whatever_the_clocks_say(
    upstash: LocalUpstash, run: Run, clock: Any, way: str, last: int, ahead: int, between: int
) -> None:
    with Store(upstash.url, upstash.token, cache_bytes=1_000_000 if way == "cached" else None) as store:
        history = UpstashRedisChatMessageHistory("s", store=store)
        history.add_messages([HumanMessage(f"old {number}") for number in range(10)])
        _ = history.read(last=last)
        clock.ahead = ahead
        late = Late(upstash, lambda: history.add_messages(TURN))
        clock.ahead = 0
        for number in range(between):
            history.add_user_message(f"new {number}")
        _ = history.read(last=last)
        late.arrive()
        new = [f"new {number}" for number in range(between)]
        expected = [*(f"old {number}" for number in range(10)), "question", "answer", *new]
        seen = _seen(call_sync, history, way, last)
        assert seen == (12 + between if way == "count" else expected[-last:])
        assert run("LLEN", history.key) == (14 if way == "count" else 12) + between
        before = upstash.stats
        again = history.read(last=last)
        spent = upstash.stats - before
        assert (spent.requests, spent.billed_commands) == (again.cost.requests, again.cost.commands)


def test_costs_told_are_those_spent_when_duplicates_are_removed(upstash: LocalUpstash, call: Call, run: Run) -> None:
    history = _history(upstash)
    late = Late(upstash, lambda: history.add_messages(TURN))
    for number in range(30):
        history.add_user_message(str(number))
    late.arrive()
    for how in ({"last": 1}, {"last": 1}, {"last": 100}, {"max_tokens": 3, "token_counter": len}, {}):
        before = upstash.stats
        cost = call(history, "read", **how).cost
        spent = upstash.stats - before
        assert (spent.requests, spent.billed_commands) == (cost.requests, cost.commands)


def test_clocks_that_differ_cost_one_look_and_not_one_for_each_read(
    upstash: LocalUpstash, call: Call, clock: Any
) -> None:
    history = _history(upstash)
    history.add_messages([HumanMessage(str(number)) for number in range(20)])
    clock.ahead = 5 * SECOND
    history.add_user_message("ahead")
    clock.ahead = 0
    history.add_user_message("right")
    costs = [call(history, "read", last=3).cost.requests for _ in range(3)]
    assert costs == [2, 1, 1]


@pytest.mark.parametrize("doctored", ["before it arrives", "after it arrived"])
@pytest.mark.parametrize("last", [1, 3, None])
def test_a_late_request_and_the_doctor(
    upstash: LocalUpstash, either: Call, run: Run, doctored: str, last: int | None
) -> None:
    history = _history(upstash)
    history.add_user_message("first")
    _damage(run)
    late = Late(upstash, lambda: history.add_messages(TURN))
    if doctored == "before it arrives":
        _doctor(upstash)
    late.arrive()
    if doctored == "after it arrived":
        _doctor(upstash)
    expected = ["first", "question", "answer"]
    assert _texts(either(history, "read", last=last).messages) == (expected if last is None else expected[-last:])
    assert run("LLEN", history.key) == 3


def _appended_by_others(history: UpstashRedisChatMessageHistory, clock: Any, count: int, read_every: int) -> None:
    chances = random.Random(1)
    for number in range(count):
        clock.ahead = chances.randint(-DAY, DAY)
        history.add_user_message(f"new {number}")
        if number % read_every == 0:
            history.read(last=20)
    clock.ahead = 0


def test_many_looks_do_not_make_a_lost_append_forgotten(upstash: LocalUpstash, call: Call, clock: Any) -> None:
    history = _history(upstash)
    history.add_user_message("first")
    clock.ahead = DAY
    late = Late(upstash, lambda: history.add_user_message("lost"))
    _appended_by_others(history, clock, 100, read_every=5)
    late.arrive()
    assert _texts(call(history, "read", last=2).messages) == ["new 98", "new 99"]
    assert call(history, "count") == 102


@pytest.mark.parametrize("removed", ["oldest", "before it"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [1, 3])
def test_a_late_request_to_a_conversation_as_long_as_before(
    upstash: LocalUpstash, either: Call, run: Run, clock: Any, removed: str, way: str, size: int
) -> None:
    history = _history(upstash)
    history.add_messages([HumanMessage(f"old {number}") for number in range(20)])
    clock.ahead = DAY
    late = Late(upstash, lambda: history.add_messages([HumanMessage(f"lost {number}") for number in range(size)]))
    clock.ahead = 0
    for number in range(10):
        history.add_user_message(f"new {number}")
    for _ in range(10 + size):
        raw = run("LINDEX", history.key, -1 if removed == "oldest" else -2)
        run("LREM", history.key, -1, raw)
    late.arrive()
    assert _seen(either, history, way, 2) == (20 if way == "count" else ["new 8", "new 9"])


def test_a_late_request_that_arrives_while_another_one_is_removed(upstash: LocalUpstash) -> None:
    history = _history(upstash)
    for name in ("one", "two"):
        upstash.faults.next("applied_late", held=True)
        history.add_user_message(f"lost {name}")
        history.add_messages([HumanMessage(f"after {name} {number}") for number in range(10)])
    assert upstash.release(1) == 1
    # The first request, the look, and the second one, which waits until another late request has arrived.
    upstash.faults.next(None, None, Fault("delay", held=True))
    with ThreadPoolExecutor(1) as threads:
        read = threads.submit(history.read, last=2)
        upstash.wait_until_held(2)
        assert upstash.release(matching="LPUSH") == 1
        upstash.release()
        assert _texts(read.result().messages) == ["after two 8", "after two 9"]


@pytest.mark.parametrize("by", ["another reader", "this look, whose reply is lost"])
def test_a_duplicate_that_was_removed_meanwhile_is_not_shown(upstash: LocalUpstash, by: str) -> None:
    history = _history(upstash)
    late = Late(upstash, lambda: history.add_messages(TURN))
    history.add_messages([HumanMessage(str(number)) for number in range(30)])
    late.arrive()
    is_lost = by != "another reader"
    # The first request, and the look.
    upstash.faults.next(None, "reply_lost" if is_lost else Fault("delay", held=True))
    with ThreadPoolExecutor(1) as threads:
        read = threads.submit(history.read, last=2)
        if not is_lost:
            upstash.wait_until_held()
            assert len(UpstashRedisChatMessageHistory("s", upstash.url, upstash.token).messages) == 32
            upstash.release()
        assert _texts(read.result().messages) == ["28", "29"]


@pytest.mark.parametrize(
    ("last", "trimmed", "requests"),
    [(11, 1, [1, 1, 1]), (9, 1, [2, 1, 1]), (7, 14, [2, 1, 1])],
    ids=["record before it in sight", "cut off by the window", "cut off by trimming"],
)
def test_trimming_by_others_makes_no_read_look_for_duplicates_again_and_again(
    upstash: LocalUpstash, either: Call, run: Run, last: int, trimmed: int, requests: list[int]
) -> None:
    history = _history(upstash)
    history.add_messages([HumanMessage(f"old {number}") for number in range(12)])
    Late(upstash, lambda: history.add_messages([HumanMessage(f"lost {number}") for number in range(5)])).arrive()
    for number in range(9):
        history.add_user_message(f"new {number}")
    history.read(last=last)
    run("LTRIM", history.key, 0, -1 - trimmed)
    assert [either(history, "read", last=last).cost.requests for _ in range(3)] == requests


def test_a_late_request_larger_than_the_window(upstash: LocalUpstash, call: Call, run: Run) -> None:
    history = _history(upstash, read_last=2)
    late = Late(upstash, lambda: history.add_messages([HumanMessage(str(number)) for number in range(9)]))
    history.add_messages(TURN)
    late.arrive()
    assert _texts(call(history, "messages")) == ["question", "answer"]
    assert run("LLEN", history.key) == 11


def test_a_read_only_token_hides_a_duplicate_that_it_cannot_remove(call: Call) -> None:
    with LocalUpstash(read_only_token="reader") as upstash:
        history = _history(upstash)
        late = Late(upstash, lambda: history.add_messages(TURN))
        for number in range(20):
            history.add_user_message(str(number))
        late.arrive()
        reader = UpstashRedisChatMessageHistory("s", upstash.url, "reader")
        assert _texts(call(reader, "read", last=2).messages) == ["18", "19"]
        assert command(upstash, "LLEN", history.key) == 24


def test_a_late_request_does_not_make_bounded_storage_forget(upstash: LocalUpstash, call: Call, run: Run) -> None:
    history = _history(upstash, max_stored_messages=4)
    history.add_messages([HumanMessage(str(number)) for number in range(4)])
    Late(upstash, lambda: call(history, "add_messages", TURN)).arrive()
    assert _texts(history.messages) == ["2", "3", "question", "answer"]
    assert run("LLEN", history.key) == 4


CALLS = [
    AIMessage("", tool_calls=[{"name": "t", "args": {}, "id": "a"}, {"name": "t", "args": {}, "id": "b"}]),
    ToolMessage("1", tool_call_id="a"),
    ToolMessage("2", tool_call_id="b"),
]


@pytest.mark.parametrize("most", [3, 4, 5, 6])
@pytest.mark.parametrize(
    "turn",
    [
        [HumanMessage("q"), *CALLS, AIMessage("end")],
        [HumanMessage("q"), CALLS[0], HumanMessage("in between"), *CALLS[1:], AIMessage("end")],
        [HumanMessage("q"), CALLS[0], CALLS[1], HumanMessage("in between"), CALLS[2], AIMessage("end")],
        [
            HumanMessage("q"),
            AIMessage([{"type": "tool_use", "id": "a", "name": "t", "input": {}}]),
            HumanMessage([{"type": "tool_result", "tool_use_id": "a", "content": "1"}]),
            AIMessage("end"),
        ],
    ],
)
def test_bounded_storage_holds_no_result_without_its_call(
    upstash: LocalUpstash, either: Call, run: Run, most: int, turn: list[Any]
) -> None:
    history = _history(upstash, max_stored_messages=most, ttl=60)
    for message in [*turn, *turn, HumanMessage("last")]:
        before = upstash.stats
        history.add_messages([message])
        assert (upstash.stats - before).requests == 1
        stored = "".join(run("LRANGE", history.key, 0, -1))
        for name in ("a", "b"):
            results = stored.count(f'"tool_call_id":"{name}"') + stored.count(f'"tool_use_id":"{name}"')
            assert results <= stored.count(f'"id":"{name}"')
        assert run("LLEN", history.key) <= most


def _strict(upstash: LocalUpstash, **options: Any) -> UpstashRedisChatMessageHistory:
    return _history(upstash, delivery="strict", **options)


@pytest.mark.parametrize("ttl", [None, 60])
def test_what_strict_delivery_costs(upstash: LocalUpstash, call: Call, ttl: int | None) -> None:
    history = _strict(upstash, ttl=ttl)
    before = upstash.stats
    call(history, "add_messages", TURN)
    spent = upstash.stats - before
    assert (spent.requests, spent.billed_commands) == (1, 3 if ttl is None else 4)
    assert len(call(history, "messages")) == 2


@pytest.mark.parametrize("meanwhile", ["nothing", "clear", "trim", "edit"])
@pytest.mark.parametrize("guarded", [False, True])
def test_a_late_strict_request_does_nothing(upstash: LocalUpstash, run: Run, meanwhile: str, guarded: bool) -> None:
    history = _strict(upstash)
    turn = history.guarded_turn()
    if guarded:
        turn.__enter__().add_messages(TURN)
    late = Late(upstash, lambda: turn.__exit__(None, None, None) if guarded else history.add_messages(TURN))
    if meanwhile == "clear":
        history.clear()
    elif meanwhile == "trim":
        run("LTRIM", history.key, 0, 0)
    elif meanwhile == "edit":
        run("LSET", history.key, 0, run("LINDEX", history.key, 0).replace("answer", "edited"))
    left = run("LRANGE", history.key, 0, -1)
    late.arrive()
    assert run("LRANGE", history.key, 0, -1) == left


def test_a_strict_append_that_is_called_off_is_never_stored(upstash: LocalUpstash, call: Call, run: Run) -> None:
    history = _strict(upstash, retries=0)
    upstash.faults.next("applied_late", held=True)
    with pytest.raises(OutcomeUnknown) as caught:
        call(history, "add_messages", TURN)
    assert call(history, "check_outcome", caught.value) is Outcome.NOT_STORED
    assert upstash.release() == 1
    assert run("EXISTS", history.key) == 0
    assert call(history, "check_outcome", caught.value) is Outcome.NOT_STORED


def test_an_append_with_a_key_that_is_called_off_can_be_made_again(upstash: LocalUpstash, call: Call, run: Run) -> None:
    history = _strict(upstash, retries=0)
    upstash.faults.next("applied_late", held=True)
    with pytest.raises(OutcomeUnknown) as caught:
        call(history, "add_messages", TURN, idempotency_key="evt")
    assert call(history, "check_outcome", caught.value) is Outcome.NOT_STORED
    assert call(history, "stored_for", "evt") is None
    assert upstash.release() == 1
    assert run("EXISTS", history.key) == 0
    for _ in range(2):
        call(history, "add_messages", TURN, idempotency_key="evt")
    assert call(history, "check_outcome", caught.value) is Outcome.STORED
    assert run("LLEN", history.key) == 2


def test_a_strict_append_that_was_applied_is_not_called_off(upstash: LocalUpstash, call: Call) -> None:
    history = _strict(upstash, retries=0)
    upstash.faults.next("reply_lost")
    with pytest.raises(OutcomeUnknown) as caught:
        call(history, "add_messages", TURN)
    assert call(history, "check_outcome", caught.value) is Outcome.STORED
    assert _texts(history.messages) == ["question", "answer"]


def test_strict_delivery_of_what_is_larger_than_a_request(upstash: LocalUpstash, call: Call, run: Run) -> None:
    history = _strict(upstash, max_request_bytes=100_000)
    large = [HumanMessage(f"{number} ".ljust(30_000, "x")) for number in range(7)]
    upstash.faults.next("reply_lost", "delay", "delay", "delay", "delay")
    call(history, "add_messages", large)
    assert run("LLEN", history.key) == 7


@pytest.mark.parametrize("wrong", ["", "exactly-once", True, 1])
def test_an_unknown_delivery_is_refused(upstash: LocalUpstash, wrong: Any) -> None:
    with pytest.raises(ValueError, match="delivery"):
        _history(upstash, delivery=wrong)


@pytest.mark.parametrize("delivery", ["standard", "strict"])
@pytest.mark.parametrize("matching", ["EVAL", ""])
def test_a_large_append_that_a_proxy_repeats_is_known_to_be_stored(
    upstash: LocalUpstash, either: Call, run: Run, delivery: Any, matching: str
) -> None:
    history = _history(upstash, delivery=delivery, max_request_bytes=100_000)
    upstash.faults.add("replayed", matching=matching)
    either(history, "add_messages", [HumanMessage(f"{number} ".ljust(30_000, "x")) for number in range(7)])
    assert run("LLEN", history.key) == 7


@pytest.mark.parametrize("delivery", ["standard", "strict"])
@pytest.mark.parametrize("size", [10, 60_000])
def test_a_guarded_turn_that_a_proxy_repeats_is_known_to_be_stored(
    upstash: LocalUpstash, run: Run, delivery: Any, size: int
) -> None:
    history = _history(upstash, delivery=delivery, max_request_bytes=100_000)
    history.add_user_message("before")
    with history.guarded_turn() as turn:
        turn.add_messages([HumanMessage("x" * size), AIMessage("y" * size)])
        upstash.faults.add("replayed")
    assert run("LLEN", history.key) == 3


def test_late_requests_that_arrive_together_show_nothing_twice(upstash: LocalUpstash, call: Call) -> None:
    history = _history(upstash)
    upstash.faults.add("applied_late", held=True, matching="LPUSH")
    for number in range(8):
        history.add_user_message(f"late {number}")
    upstash.faults.clear()
    for number in range(8):
        history.add_user_message(f"{number}")
    assert upstash.release() == 8
    assert _texts(call(history, "read", last=3).messages) == ["5", "6", "7"]


def test_a_repeated_request_behind_settled_ones_is_recognised(upstash: LocalUpstash, call: Call) -> None:
    history = _history(upstash)
    upstash.faults.next("replayed", held=True)
    history.add_user_message("repeated")
    upstash.faults.add("request_lost", matching="LPUSH")
    for number in range(8):
        history.add_user_message(f"{number}")
    upstash.faults.clear()
    assert upstash.release() == 1
    assert _texts(call(history, "read", last=1).messages) == ["7"]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_reader_that_may_remove_nothing_sees_all_pages(either: Call, limit: int) -> None:
    with LocalUpstash(read_only_token="a-read-only-token") as upstash:
        history = _history(upstash)
        upstash.faults.add("applied_late", held=True, times=3, matching="LPUSH")
        for number in range(9):
            history.add_user_message(f"{number}")
        assert upstash.release() == 3
        history.add_user_message("9")
        reader = UpstashRedisChatMessageHistory("s", upstash.url, "a-read-only-token")
        page = either(reader, "read", last=1)
        shown = page.messages
        while page.cursor is not None:
            page = either(reader, "read", before=page.cursor, limit=limit)
            shown = [*page.messages, *shown]
        assert _texts(shown) == [f"{number}" for number in range(10)]
