"""Where the guarantees end, as docs/reliability.md says: each limit shown, so that nobody takes it for more."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from chatstash import Outcome, OutcomeUnknown, UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash
from tests.conftest import Call

Run = Callable[..., Any]
LATE = 0.3


def _history(upstash: LocalUpstash, **options: Any) -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory("s", upstash.url, upstash.token, **options)


def _texts(history: UpstashRedisChatMessageHistory) -> list[str]:
    return [str(message.content) for message in history.messages]


def _until_there_are(run: Run, key: str, length: int) -> None:
    end = time.monotonic() + 10
    while run("LLEN", key) != length and time.monotonic() < end:
        time.sleep(0.01)
    assert run("LLEN", key) == length


def test_a_late_append_that_lands_after_a_clear_brings_its_message_back(upstash: LocalUpstash, run: Run) -> None:
    history = _history(upstash)
    upstash.faults.next("applied_late", seconds=LATE)
    history.add_user_message("late")
    history.clear()
    assert _texts(history) == []
    _until_there_are(run, history.key, 1)
    assert _texts(history) == ["late"]


def test_with_an_idempotency_key_it_does_not_come_back(upstash: LocalUpstash, call: Call) -> None:
    history = _history(upstash)
    upstash.faults.next("applied_late", seconds=LATE)
    call(history, "add_messages", _messages("late"), idempotency_key="evt")
    call(history, "clear")
    time.sleep(2 * LATE)
    assert call(history, "messages") == []


def test_a_late_append_whose_twin_was_trimmed_meanwhile_comes_back(upstash: LocalUpstash, run: Run) -> None:
    history = _history(upstash)
    upstash.faults.next("applied_late", seconds=LATE)
    history.add_user_message("late")
    history.add_user_message("newest")
    run("LTRIM", history.key, 0, 0)
    assert _texts(history) == ["newest"]
    _until_there_are(run, history.key, 2)
    assert _texts(history) == ["newest", "late"]


def test_what_may_still_arrive_is_possible_for_a_minute(upstash: LocalUpstash, call: Call) -> None:
    history = _history(upstash, retries=0)
    upstash.faults.next("request_lost")
    with pytest.raises(OutcomeUnknown) as caught:
        call(history, "add_messages", _messages("lost"))
    assert call(history, "settle", caught.value) is Outcome.STILL_POSSIBLE
    caught.value.time_ms -= 59_000
    assert call(history, "settle", caught.value) is Outcome.STILL_POSSIBLE
    caught.value.time_ms -= 2_000
    assert call(history, "settle", caught.value) is Outcome.NOT_STORED


def test_what_gave_up_and_comes_late_stands_behind_what_was_written_since(upstash: LocalUpstash, run: Run) -> None:
    history = _history(upstash, retries=0)
    upstash.faults.next("applied_late", seconds=LATE)
    with pytest.raises(OutcomeUnknown) as caught:
        history.add_user_message("first")
    history.add_user_message("second")
    _until_there_are(run, history.key, 2)
    assert _texts(history) == ["second", "first"]
    assert history.settle(caught.value) is Outcome.STORED


def test_a_turn_that_a_late_copy_disturbs_is_refused_though_nobody_wrote(upstash: LocalUpstash, run: Run) -> None:
    from chatstash import ConcurrentTurn

    history = _history(upstash)
    upstash.faults.next("applied_late", seconds=LATE)
    history.add_user_message("late")
    with pytest.raises(ConcurrentTurn), history.turn() as turn:
        turn.add_user_message("answer")
        _until_there_are(run, history.key, 2)
    assert _texts(history) == ["late"]


def _messages(text: str) -> list[Any]:
    from langchain_core.messages import HumanMessage

    return [HumanMessage(text)]
