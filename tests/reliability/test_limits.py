"""Where the guarantees end, as docs/reliability.md says: each limit shown, so that nobody takes it for more."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from chatstash import (
    Budget,
    ConcurrentTurn,
    Outcome,
    OutcomeUnknown,
    RetryPolicy,
    Store,
    UpstashRedisChatMessageHistory,
)
from chatstash.local import LocalUpstash
from tests.conftest import Call

Run = Callable[..., Any]


def _history(upstash: LocalUpstash, **options: Any) -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory("s", upstash.url, upstash.token, **options)


def _texts(history: UpstashRedisChatMessageHistory) -> list[str]:
    return [str(message.content) for message in history.messages]


def _arrive(upstash: LocalUpstash) -> None:
    assert upstash.release() == 1


def test_a_late_plain_append_after_a_clear_brings_its_messages_back(upstash: LocalUpstash) -> None:
    history = _history(upstash)
    upstash.faults.next("applied_late", held=True)
    history.add_user_message("late")
    history.clear()
    assert _texts(history) == []
    _arrive(upstash)
    assert _texts(history) == ["late"]


def test_with_an_idempotency_key_it_does_not_come_back(upstash: LocalUpstash, call: Call) -> None:
    history = _history(upstash)
    upstash.faults.next("applied_late", held=True)
    call(history, "add_messages", _messages("late"), idempotency_key="evt")
    call(history, "clear")
    _arrive(upstash)
    assert call(history, "messages") == []


def test_a_late_plain_append_after_its_original_was_trimmed_comes_back(upstash: LocalUpstash, run: Run) -> None:
    history = _history(upstash)
    upstash.faults.next("applied_late", held=True)
    history.add_user_message("late")
    history.add_user_message("newest")
    run("LTRIM", history.key, 0, 0)
    assert _texts(history) == ["newest"]
    _arrive(upstash)
    assert _texts(history) == ["newest", "late"]


@pytest.mark.parametrize("delivery", ["standard", "strict"])
@pytest.mark.parametrize("edit", ["delete_messages", "truncate", "pop", "guarded_turn"])
def test_a_late_plain_append_after_an_edit_removed_its_messages_comes_back(
    upstash: LocalUpstash, edit: str, delivery: str
) -> None:
    history = _history(upstash, delivery=delivery)
    history.add_messages([HumanMessage("first", id="first")])
    upstash.faults.next("applied_late", held=True)
    history.add_messages([HumanMessage("late", id="late")])
    if edit == "guarded_turn":
        with history.guarded_turn(replacing="late") as turn:
            turn.add_user_message("new")
    else:
        names: dict[str, Any] = {"delete_messages": ["late"], "truncate": [], "pop": [1]}
        getattr(history, edit)(*names[edit], **({"after": "first"} if edit == "truncate" else {}))
    left = _texts(history)
    assert "late" not in left
    _arrive(upstash)
    assert _texts(history) == [*left, *(["late"] if delivery == "standard" else [])]


def test_a_clear_between_an_append_and_its_settlement(upstash: LocalUpstash) -> None:
    def clear_before_the_retry() -> float:
        _history(upstash).clear()
        return 0.0

    budget = Budget(jitter=clear_before_the_retry)
    with Store(upstash.url, upstash.token, retry_policy=RetryPolicy(append=budget)) as store:
        history = UpstashRedisChatMessageHistory("s", store=store)
        upstash.faults.next("reply_lost")
        history.add_user_message("x")
    assert _texts(_history(upstash)) == ["x"]


def test_another_library_sees_a_duplicate_until_it_is_removed(upstash: LocalUpstash, run: Run) -> None:
    history = _history(upstash)
    upstash.faults.next("applied_late", held=True)
    history.add_user_message("late")
    _arrive(upstash)
    first, second = run("LRANGE", history.key, 0, -1)
    assert first == second
    assert _texts(history) == ["late"]
    assert run("LRANGE", history.key, 0, -1) == [first]


def test_what_may_still_arrive_is_possible_for_a_minute(
    upstash: LocalUpstash, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = _history(upstash, retries=0)
    upstash.faults.next("request_lost")
    with pytest.raises(OutcomeUnknown) as caught:
        call(history, "add_messages", _messages("lost"))
    assert call(history, "check_outcome", caught.value) is Outcome.STILL_POSSIBLE
    monotonic = time.monotonic
    for later, outcome in ((30, Outcome.STILL_POSSIBLE), (61, Outcome.NOT_STORED)):
        with monkeypatch.context() as patched:
            patched.setattr(time, "monotonic", lambda later=later: monotonic() + later)
            assert call(history, "check_outcome", caught.value) is outcome


def test_what_gave_up_and_comes_late_stands_behind_what_was_written_since(upstash: LocalUpstash) -> None:
    history = _history(upstash, retries=0)
    upstash.faults.next("applied_late", held=True)
    with pytest.raises(OutcomeUnknown) as caught:
        history.add_user_message("first")
    history.add_user_message("second")
    _arrive(upstash)
    assert _texts(history) == ["second", "first"]
    assert history.check_outcome(caught.value) is Outcome.STORED


def test_a_duplicate_that_arrives_during_a_turn_refuses_it(upstash: LocalUpstash) -> None:
    history = _history(upstash)
    upstash.faults.next("applied_late", held=True)
    history.add_user_message("late")
    with pytest.raises(ConcurrentTurn), history.guarded_turn() as turn:
        turn.add_user_message("answer")
        _arrive(upstash)
    assert _texts(history) == ["late"]


def test_of_two_writes_under_way_at_once_a_lagging_replica_may_show_one(call: Call) -> None:
    # Their sync tokens cannot be compared: that of the write sent later is kept, though it was the first to be applied.
    with (
        LocalUpstash(replica_lag=60) as upstash,
        Store(upstash.url, upstash.token) as store,
        ThreadPoolExecutor() as threads,
    ):
        history = UpstashRedisChatMessageHistory("s", store=store)
        upstash.faults.next("delay", held=True)
        sent_first = threads.submit(history.add_user_message, "sent first")
        upstash.wait_until_held()
        history.add_user_message("sent second")
        _arrive(upstash)
        sent_first.result()
        assert [message.content for message in call(history, "messages")] == ["sent second"]
        call(history, "add_messages", _messages("later"))
        found = [message.content for message in call(history, "messages")]
        assert found == ["sent second", "sent first", "later"]


def _messages(text: str) -> list[Any]:
    return [HumanMessage(text)]
