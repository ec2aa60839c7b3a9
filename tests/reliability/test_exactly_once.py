"""Every write is carried out once, whatever happens to its requests; for both colours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from chatstash import (
    Budget,
    ConcurrentTurn,
    IdempotencyConflict,
    Outcome,
    OutcomeUnknown,
    Record,
    RetryPolicy,
    Store,
    UpstashRedisChatMessageHistory,
)
from chatstash.local import LocalUpstash
from chatstash.rest.deadline import Deadline
from tests.conftest import Call

Run = Callable[..., Any]

FAULTS = {
    "reply lost": ("reply_lost", {}),
    "request lost": ("request_lost", {}),
    "truncated": ("truncated", {}),
    "reset": ("reset", {}),
    "reset after it was applied": ("reset", {"applied": True}),
    "503 of a proxy": ("unavailable", {}),
    "503 after it was applied": ("unavailable", {"applied": True}),
    "500": ("server_error", {}),
    "500 after it was applied": ("server_error", {"applied": True}),
    "429": ("throttled", {}),
    "never answered": ("no_answer", {}),
    "never answered, applied": ("no_answer", {"applied": True}),
}
TURN = [HumanMessage("question"), AIMessage("answer")]


def _history(upstash: LocalUpstash, **options: Any) -> UpstashRedisChatMessageHistory:
    options = {"max_request_bytes": 100_000, **options}
    return UpstashRedisChatMessageHistory("s", upstash.url, upstash.token, **options)


def _texts(history: UpstashRedisChatMessageHistory) -> list[str]:
    return [str(message.content) for message in history.messages]


# What an operation can learn of a fault: nothing, with and without its being applied; that it was refused; no answer.
@pytest.fixture(params=["reply lost", "request lost", "429", "never answered, applied"])
def fault(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return FAULTS[request.param]


@pytest.fixture(autouse=True)
def _an_answer_that_never_comes_is_given_up_soon(upstash: LocalUpstash, monkeypatch: pytest.MonkeyPatch) -> None:
    start = Deadline.start_attempt

    def start_attempt(deadline: Deadline, *, is_last: bool) -> None:
        start(deadline, is_last=is_last)
        planned = upstash.faults.to_json()["next"]
        if planned and planned[0] and planned[0]["kind"] == "no_answer":
            deadline._longest_silence = 0.1

    monkeypatch.setattr(Deadline, "start_attempt", start_attempt)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("name", FAULTS)
def test_an_append_is_stored_once(upstash: LocalUpstash, either: Call, run: Run, name: str, times: int) -> None:
    history = _history(upstash, ttl=60)
    history.add_user_message("before")
    kind, how = FAULTS[name]
    upstash.faults.next(kind, times=times, **how)
    either(history, "add_messages", TURN)
    assert run("LLEN", history.key) == 3
    assert _texts(history) == ["before", "question", "answer"]
    assert run("PERSIST", history.key) == 1


def test_an_append_without_a_ttl_is_stored_once(upstash: LocalUpstash, run: Run, fault: tuple[str, Any]) -> None:
    history = _history(upstash)
    upstash.faults.next(fault[0], **fault[1])
    history.add_messages(TURN)
    assert _texts(history) == ["question", "answer"]
    assert run("LLEN", history.key) == 2
    assert run("PERSIST", history.key) == 0


def test_an_append_with_a_key_is_stored_once(
    upstash: LocalUpstash, call: Call, run: Run, fault: tuple[str, dict[str, Any]]
) -> None:
    history = _history(upstash, ttl=60)
    upstash.faults.next(fault[0], **fault[1])
    call(history, "add_messages", TURN, idempotency_key="evt")
    call(history, "add_messages", TURN, idempotency_key="evt")
    assert run("LLEN", history.key) == 2
    assert _texts(history) == ["question", "answer"]


def test_a_large_append_is_stored_once_whichever_request_fails(
    upstash: LocalUpstash, call: Call, run: Run, fault: tuple[str, dict[str, Any]]
) -> None:
    large = [HumanMessage(f"{number} ".ljust(30_000, "x")) for number in range(7)]
    before = upstash.stats
    _history(upstash).add_messages(large)
    requests = (upstash.stats - before).requests
    assert requests == 4
    for failing in range(requests):
        history = _history(upstash)
        history.clear()
        # The requests before the failing one pass, held up for no time at all.
        upstash.faults.next(*["delay"] * failing, seconds=0)
        upstash.faults.next(fault[0], **fault[1])
        call(history, "add_messages", large)
        assert [message.content for message in history.messages] == [message.content for message in large]
        assert run("KEYS", "chatstash:staging:*") == []


def test_a_turn_is_stored_once(upstash: LocalUpstash, run: Run, fault: tuple[str, dict[str, Any]]) -> None:
    history = _history(upstash, ttl=60)
    with history.guarded_turn() as turn:
        turn.add_messages(TURN)
        upstash.faults.next(fault[0], **fault[1])
    assert run("LLEN", history.key) == 2
    assert turn.appended is not None
    assert turn.appended.length == 2


def test_clearing_is_done_once(upstash: LocalUpstash, call: Call, fault: tuple[str, dict[str, Any]]) -> None:
    history = _history(upstash)
    history.add_user_message("before")
    upstash.faults.next(fault[0], **fault[1])
    call(history, "clear")
    assert _texts(history) == []


def _late(upstash: LocalUpstash) -> None:
    upstash.faults.next("applied_late", held=True)


def _arrive(upstash: LocalUpstash) -> None:
    assert upstash.release() == 1


def test_a_late_append_is_read_once_and_its_duplicate_removed(upstash: LocalUpstash, call: Call, run: Run) -> None:
    history = _history(upstash)
    _late(upstash)
    call(history, "add_messages", TURN)
    history.add_user_message("after")
    _arrive(upstash)
    assert run("LLEN", history.key) == 5
    assert [str(message.content) for message in call(history, "messages")] == ["question", "answer", "after"]
    assert run("LLEN", history.key) == 3
    assert _texts(history) == ["question", "answer", "after"]


@pytest.mark.parametrize("key", ["evt", None])
def test_a_late_write_that_is_guarded_is_never_stored_twice(upstash: LocalUpstash, run: Run, key: str | None) -> None:
    history = _history(upstash)
    if key:
        _late(upstash)
        history.add_messages(TURN, idempotency_key=key)
    else:
        with history.guarded_turn() as turn:
            turn.add_messages(TURN)
            _late(upstash)
    _arrive(upstash)
    assert run("LLEN", history.key) == 2


def test_a_late_clear_takes_nothing_that_came_after(upstash: LocalUpstash, call: Call) -> None:
    history = _history(upstash)
    history.add_user_message("before")
    _late(upstash)
    call(history, "clear")
    history.add_user_message("after")
    _arrive(upstash)
    assert _texts(history) == ["after"]


def test_a_late_move_of_a_large_append_is_not_stored_twice(upstash: LocalUpstash, run: Run) -> None:
    history = _history(upstash)
    upstash.faults.next("delay", "delay", seconds=0)
    _late(upstash)
    history.add_messages([HumanMessage("x" * 60_000), HumanMessage("y" * 60_000)])
    _arrive(upstash)
    assert run("LLEN", history.key) == 2


@pytest.mark.parametrize("change", ["clear", "trim"])
def test_an_idempotency_key_outlives_what_it_stored(upstash: LocalUpstash, call: Call, run: Run, change: str) -> None:
    history = _history(upstash)
    history.add_messages(TURN, idempotency_key="evt")
    if change == "clear":
        history.clear()
    else:
        run("LTRIM", history.key, 0, 0)
    left = run("LLEN", history.key)
    call(history, "add_messages", TURN, idempotency_key="evt")
    assert run("LLEN", history.key) == left


def test_an_idempotency_key_lasts_for_its_ttl(upstash: LocalUpstash, run: Run) -> None:
    _history(upstash).add_messages(TURN, idempotency_key="a")
    _history(upstash, idempotency_ttl=700).add_messages(TURN, idempotency_key="b")
    markers = run("KEYS", "chatstash:idempotency:*")
    shorter, longer = sorted(run("TTL", marker) for marker in markers)
    assert 600 < shorter <= 700
    assert 86_000 < longer <= 86_400


def test_an_idempotency_key_is_of_one_conversation(upstash: LocalUpstash) -> None:
    _history(upstash).add_messages(TURN, idempotency_key="evt")
    other = UpstashRedisChatMessageHistory("other", upstash.url, upstash.token)
    other.add_messages(TURN, idempotency_key="evt")
    assert len(other.messages) == 2


@pytest.mark.parametrize(
    "other", [[HumanMessage("something else")], TURN[:1], TURN[::-1], [HumanMessage("question", id="x"), TURN[1]]]
)
def test_an_idempotency_key_used_for_something_else_is_a_conflict(
    upstash: LocalUpstash, either: Call, other: list[Any]
) -> None:
    history = _history(upstash)
    history.add_messages(TURN, idempotency_key="evt")
    with pytest.raises(IdempotencyConflict, match="'evt'"):
        either(history, "add_messages", other, idempotency_key="evt")
    assert _texts(history) == ["question", "answer"]


@pytest.mark.parametrize("key", ["", 7, b"x", "\ud800"])
def test_an_invalid_idempotency_key_is_refused_before_anything_is_sent(
    upstash: LocalUpstash, either: Call, key: Any
) -> None:
    before = upstash.stats
    with pytest.raises(ValueError, match="idempotency"):
        either(_history(upstash), "add_messages", TURN, idempotency_key=key)
    assert upstash.stats == before


@pytest.mark.parametrize("key", ["evt:123", "*", "ünï\n\x00", "x" * 100_000])
def test_any_text_is_an_idempotency_key(upstash: LocalUpstash, run: Run, key: str) -> None:
    for _ in range(2):
        _history(upstash).add_messages(TURN, idempotency_key=key)
    assert run("LLEN", "message_store:s") == 2


def test_a_key_whose_append_was_refused_is_free_again(upstash: LocalUpstash, run: Run) -> None:
    history = _history(upstash)
    run("SET", history.key, "no list")
    with pytest.raises(Exception, match="not a list"):
        history.add_messages(TURN, idempotency_key="evt")
    assert run("GET", history.key) == "no list"
    run("DEL", history.key)
    history.add_messages(TURN, idempotency_key="evt")
    assert run("LLEN", history.key) == 2


@pytest.mark.parametrize(("ttl", "commands"), [(None, 3), (60, 4)])
def test_what_an_append_with_a_key_costs(upstash: LocalUpstash, ttl: int | None, commands: int) -> None:
    with Store(upstash.url, upstash.token, ttl=ttl) as store:
        before = upstash.stats
        cost = store.session("s").append([Record("human", {"content": "x"})] * 500, idempotency_key="evt").cost
    spent = upstash.stats - before
    assert (spent.requests, spent.billed_commands) == (cost.requests, cost.commands) == (1, commands)


@pytest.mark.parametrize("lost_for_good", [True, False])
def test_check_outcome_tells_whether_an_append_was_stored(
    upstash: LocalUpstash, call: Call, lost_for_good: bool
) -> None:
    history = _history(upstash, retries=1)
    upstash.faults.add("request_lost" if lost_for_good else "reply_lost")
    with pytest.raises(OutcomeUnknown) as caught:
        call(history, "add_messages", TURN)
    upstash.faults.clear()
    expected = Outcome.STILL_POSSIBLE if lost_for_good else Outcome.STORED
    assert call(history, "check_outcome", caught.value) is expected
    if lost_for_good:
        assert call(history, "check_outcome", caught.value, in_flight_seconds=0) is Outcome.NOT_STORED


def test_check_outcome_sees_a_late_append(upstash: LocalUpstash) -> None:
    history = _history(upstash, retries=0)
    _late(upstash)
    with pytest.raises(OutcomeUnknown) as caught:
        history.add_messages(TURN)
    assert history.check_outcome(caught.value) is Outcome.STILL_POSSIBLE
    _arrive(upstash)
    assert history.check_outcome(caught.value) is Outcome.STORED


@pytest.mark.parametrize("applied", [True, False])
def test_check_outcome_by_key(upstash: LocalUpstash, call: Call, applied: bool) -> None:
    history = _history(upstash, retries=0)
    upstash.faults.add("reply_lost" if applied else "request_lost")
    with pytest.raises(OutcomeUnknown) as caught:
        history.add_messages(TURN, idempotency_key="evt")
    upstash.faults.clear()
    for lost in (caught.value, "evt"):
        assert call(history, "check_outcome", lost) is (Outcome.STORED if applied else Outcome.STILL_POSSIBLE)
        assert call(history, "check_outcome", lost, in_flight_seconds=0) is (
            Outcome.STORED if applied else Outcome.NOT_STORED
        )
    call(history, "add_messages", TURN, idempotency_key="evt")
    assert _texts(history) == ["question", "answer"]


@pytest.mark.parametrize("applied", [True, False])
def test_check_outcome_of_a_clear(upstash: LocalUpstash, applied: bool) -> None:
    history = _history(upstash, retries=0)
    history.add_messages(TURN)
    upstash.faults.add("reply_lost" if applied else "request_lost")
    with pytest.raises(OutcomeUnknown) as caught:
        history.clear()
    upstash.faults.clear()
    assert history.check_outcome(caught.value) is (Outcome.STORED if applied else Outcome.STILL_POSSIBLE)


@pytest.mark.parametrize("name", ["add_messages", "clear"])
def test_a_write_whose_store_is_closed_before_it_is_settled_is_unknown(
    upstash: LocalUpstash, call: Call, name: str
) -> None:
    def close_before_the_retry() -> float:
        store.close()
        return 0.0

    closing = Budget(jitter=close_before_the_retry)
    store = Store(upstash.url, upstash.token, retry_policy=RetryPolicy(closing, closing, closing))
    history = UpstashRedisChatMessageHistory("s", store=store)
    upstash.faults.next("reply_lost")
    with pytest.raises(OutcomeUnknown, match="the store was closed before") as caught:
        call(history, name, *([TURN] if name == "add_messages" else []))
    assert _history(upstash).check_outcome(caught.value) is Outcome.STORED


def test_check_outcome_asks_the_leader_and_not_a_lagging_replica() -> None:
    with LocalUpstash(replica_lag=60.0) as upstash:
        history = _history(upstash, retries=0)
        upstash.faults.next("reply_lost")
        with pytest.raises(OutcomeUnknown) as caught:
            history.add_messages(TURN)
        assert history.check_outcome(caught.value) is Outcome.STORED


def test_check_outcome_refuses_what_belongs_elsewhere(upstash: LocalUpstash) -> None:
    history = _history(upstash, retries=0)
    upstash.faults.next("reply_lost")
    with pytest.raises(OutcomeUnknown) as caught:
        history.add_messages(TURN)
    other = UpstashRedisChatMessageHistory("other", upstash.url, upstash.token)
    for wrong in (caught.value, "", 7):
        with pytest.raises(ValueError, match=r"conversation|idempotency"):
            other.check_outcome(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="belongs to the conversation 'message_store:"):
        other.check_outcome(caught.value)


def test_a_turn_that_nobody_disturbs(upstash: LocalUpstash) -> None:
    history = _history(upstash, ttl=60)
    history.add_user_message("before")
    before = upstash.stats
    with history.guarded_turn() as turn:
        assert [message.content for message in turn.messages] == ["before"]
        turn.add_user_message("question")
        turn.add_ai_message("answer")
        assert len(turn.messages) == 3
    spent = upstash.stats - before
    assert (spent.requests, spent.billed_commands) == (2, 6)
    assert _texts(history) == ["before", "question", "answer"]


@pytest.mark.parametrize("change", ["append", "clear", "clear and append", "trim", "edit"])
def test_a_turn_that_somebody_disturbs(upstash: LocalUpstash, run: Run, change: str) -> None:
    history = _history(upstash)
    history.add_messages(TURN)
    with pytest.raises(ConcurrentTurn) as caught, history.guarded_turn() as turn:
        turn.add_user_message("mine")
        if change.startswith("clear"):
            history.clear()
        if change.endswith("append"):
            history.add_user_message("theirs")
        if change == "trim":
            run("LTRIM", history.key, 0, 0)
        if change == "edit":
            run("LSET", history.key, 0, '{"type":"ai","data":{"content":"edited"}}')
    expected = {"append": ["theirs"], "clear and append": ["theirs"], "edit": ["edited"]}.get(change, [])
    assert [message.content for message in caught.value.messages] == expected
    assert "mine" not in _texts(history)


def test_a_turn_whose_block_fails_adds_nothing(upstash: LocalUpstash) -> None:
    history = _history(upstash)
    with pytest.raises(KeyError), history.guarded_turn() as turn:
        turn.add_user_message("mine")
        raise KeyError
    assert history.messages == []


def test_a_turn_is_for_with_and_used_once(upstash: LocalUpstash) -> None:
    turn = _history(upstash).guarded_turn()
    with pytest.raises(RuntimeError, match="with"):
        _ = turn.messages
    with turn:
        pass
    with pytest.raises(RuntimeError, match="once"), turn:
        pass


def test_a_turn_that_removes_a_duplicate_is_not_disturbed_by_that(upstash: LocalUpstash, run: Run) -> None:
    history = _history(upstash)
    _late(upstash)
    history.add_messages(TURN)
    history.add_user_message("after")
    _arrive(upstash)
    assert run("LLEN", history.key) == 5
    with history.guarded_turn() as turn:
        turn.add_user_message("more")
    assert _texts(history) == ["question", "answer", "after", "more"]


def test_a_duplicate_that_could_not_be_removed_disturbs_no_turn_either(upstash: LocalUpstash, run: Run) -> None:
    history = _history(upstash, retries=0)
    history.add_messages(TURN)
    copies = run("LRANGE", history.key, 0, -1)[::-1]
    run("LPUSH", history.key, *copies)
    upstash.faults.next(None, "request_lost")
    with history.guarded_turn() as turn:
        turn.add_user_message("more")
    assert run("LLEN", history.key) == 5
    assert _texts(history) == ["question", "answer", "more"]


@pytest.mark.parametrize("options", [{}, {"delivery": "strict"}, {"max_stored_messages": 10}])
def test_a_turn_is_refused_again_where_the_refusal_was_lost(upstash: LocalUpstash, options: dict[str, Any]) -> None:
    history = _history(upstash, **options)
    history.add_messages(TURN)
    with pytest.raises(ConcurrentTurn) as caught, history.guarded_turn() as turn:
        turn.add_user_message("mine")
        history.add_user_message("theirs")
        upstash.faults.next("reply_lost")
    assert [message.content for message in caught.value.messages] == ["theirs"]
    assert _texts(history) == ["question", "answer", "theirs"]


def test_a_turn_of_asyncio(upstash: LocalUpstash) -> None:
    async def main() -> None:
        history = _history(upstash)
        async with history.guarded_turn() as turn:
            turn.add_user_message("mine")
        with pytest.raises(ConcurrentTurn) as caught:
            async with history.guarded_turn() as turn:
                turn.add_user_message("mine too")
                await history.aadd_messages([AIMessage("theirs")])
        assert [message.content for message in caught.value.messages] == ["theirs"]

    asyncio.run(main())
