"""Attacks on what is promised: each of these was possible once."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from chatstash import (
    Budget,
    ConcurrentTurn,
    CorruptRecord,
    IdempotencyConflict,
    Outcome,
    OutcomeUnknown,
    QuotaExceeded,
    Record,
    RecordTooLarge,
    RetryPolicy,
    Store,
    UnstorableMessage,
    UpstashRedisChatMessageHistory,
)
from chatstash.local import Fault, Limits, LocalUpstash
from tests.conftest import Call, command

Run = Callable[..., Any]


def _history(upstash: LocalUpstash, session_id: str = "s", **options: Any) -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory(session_id, upstash.url, upstash.token, **options)


def _texts(history: UpstashRedisChatMessageHistory) -> list[str]:
    return [str(message.content).strip() for message in history.messages]


def _large(count: int, characters: int, text: str = "m") -> list[HumanMessage]:
    return [HumanMessage(f"{text}{number}".ljust(characters)) for number in range(count)]


@pytest.fixture(scope="module")
def small() -> Iterator[LocalUpstash]:
    """A server that permits 200 KB for a request or a reply."""
    with LocalUpstash(plan=Limits(max_request_bytes=200_000)) as upstash:
        yield upstash


@pytest.mark.parametrize("change", ["trim", "replace", "shorten"])
def test_a_list_read_in_pages_of_one_record_is_never_a_mixture(small: LocalUpstash, either: Call, change: str) -> None:
    small.reset()
    history = _history(small)
    history.add_messages(_large(6, 150_000, "old"))
    expected = [f"old{number}" for number in range(6)]
    # One of the later pages waits until the conversation was changed.
    small.faults.next(*[None] * 6, Fault("delay", held=True))
    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(either, history, "messages")
        small.wait_until_held()
        if change == "trim":
            command(small, "LTRIM", history.key, 0, 4)
        elif change == "shorten":
            command(small, "LTRIM", history.key, 0, 0)
        else:
            other = _history(small)
            other.clear()
            other.add_messages(_large(6, 150_000, "new"))
        small.release()
        found = [message.content.strip() for message in reading.result()]
    after = {"trim": expected[1:], "shorten": expected[5:], "replace": [f"new{number}" for number in range(6)]}[change]
    assert found in (expected, after)


def test_a_turn_is_not_disturbed_by_the_duplicates_its_own_read_removes(
    upstash: LocalUpstash, call: Call, run: Run
) -> None:
    history = _history(upstash)
    call(history, "add_messages", [HumanMessage("question"), HumanMessage("answer")])
    for index in (-1, -2):
        run("LPUSH", history.key, run("LINDEX", history.key, index))
    with history.guarded_turn() as turn:
        turn.add_user_message("mine")
    assert _texts(history) == ["question", "answer", "mine"]
    assert run("LLEN", history.key) == 3


def test_the_position_of_a_corrupt_record_is_that_after_duplicates_were_removed(
    upstash: LocalUpstash, run: Run
) -> None:
    history = _history(upstash)
    history.add_user_message("x")
    run("LPUSH", history.key, run("LINDEX", history.key, 0))
    run("LPUSH", history.key, "junk")
    with pytest.raises(CorruptRecord) as caught:
        _ = history.messages
    assert run("LINDEX", history.key, -1 - caught.value.position) == "junk"


@pytest.mark.parametrize("change", ["replace", "window"])
def test_a_turn_notices_changes_by_old_libraries_that_leave_length_and_newest_as_they_were(
    upstash: LocalUpstash, run: Run, change: str
) -> None:
    history = _history(upstash)

    def old(*texts: str) -> None:
        for text in texts:
            run("LPUSH", history.key, json.dumps({"type": "ai", "data": {"content": text}}))

    old("a", "b", "OK")
    with pytest.raises(ConcurrentTurn), history.guarded_turn() as turn:
        turn.add_user_message("mine")
        if change == "replace":
            history.clear()
            old("c", "d", "OK")
        else:
            old("next", "OK")
            run("LTRIM", history.key, 0, 2)
    assert "mine" not in _texts(history)


@pytest.mark.parametrize("change", ["append", "trim"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_turn_that_others_disturb_with_much_is_told_of_the_newest(
    small: LocalUpstash, change: str, count: int
) -> None:
    small.reset()
    history = _history(small, max_request_bytes=150_000)
    history.add_messages(_large(60, 10_000, "old"))
    with pytest.raises(ConcurrentTurn) as caught, history.guarded_turn() as turn:
        turn.add_messages([HumanMessage("mine")] * count)
        if change == "append":
            history.add_messages(_large(30, 10_000, "new"))
        else:
            command(small, "LTRIM", history.key, 0, 50)
    told = [str(message.content).strip() for message in caught.value.messages]
    assert told == ([f"new{number}" for number in range(30)][-len(told) :] if change == "append" else [])
    assert bool(told) is (change == "append")
    assert len(history.messages) == (90 if change == "append" else 51)


@pytest.mark.parametrize("refused_by", ["key", "turn"])
def test_a_large_append_that_is_refused_leaves_no_parts(
    upstash: LocalUpstash, call: Call, run: Run, refused_by: str
) -> None:
    history = _history(upstash, max_request_bytes=100_000)
    if refused_by == "key":
        for _ in range(2):
            call(history, "add_messages", _large(4, 60_000), idempotency_key="evt")
        assert len(history.messages) == 4
    else:
        with pytest.raises(ConcurrentTurn), history.guarded_turn() as turn:
            turn.add_messages(_large(4, 60_000))
            history.add_user_message("theirs")
    assert run("KEYS", "chatstash:staging:*") == []


def test_a_large_append_for_which_there_is_no_room_leaves_no_parts(call: Call) -> None:
    with LocalUpstash(plan=Limits(max_request_bytes=200_000, max_data_bytes=3_000_000)) as upstash:
        history = _history(upstash)
        with pytest.raises(QuotaExceeded):
            call(history, "add_messages", _large(60, 100_000))
        assert command(upstash, "KEYS", "*") == []


def test_a_record_over_the_servers_limit_is_found_before_any_part_is_put(small: LocalUpstash, call: Call) -> None:
    small.reset()
    with pytest.raises(RecordTooLarge) as caught:
        call(_history(small), "add_messages", [*_large(2, 150_000), HumanMessage("x" * 250_000)])
    assert caught.value.index == 2
    assert command(small, "KEYS", "*") == []


def _lost(upstash: LocalUpstash, fault: Any, text: str, **options: Any) -> OutcomeUnknown:
    """Return the error of an append whose reply was lost."""
    upstash.faults.next(fault)
    with pytest.raises(OutcomeUnknown) as caught:
        _history(upstash, retries=0, **options).add_messages([HumanMessage(text)], idempotency_key="evt")
    return caught.value


@pytest.mark.parametrize("in_flight_seconds", [0, 60])
def test_check_outcome_knows_that_a_key_was_used_for_other_messages(
    upstash: LocalUpstash, either: Call, in_flight_seconds: float
) -> None:
    history = _history(upstash)
    history.add_messages([HumanMessage("A")], idempotency_key="evt")
    lost = _lost(upstash, "reply_lost", "B")
    assert either(history, "check_outcome", lost, in_flight_seconds=in_flight_seconds) is Outcome.NOT_STORED
    with pytest.raises(IdempotencyConflict):
        history.add_messages([HumanMessage("B")], idempotency_key="evt")
    again = _lost(upstash, "reply_lost", "A")
    assert either(history, "check_outcome", again, in_flight_seconds=in_flight_seconds) is Outcome.STORED
    assert _texts(history) == ["A"]


@pytest.mark.parametrize(("fault", "outcome"), [("reply_lost", Outcome.STORED), ("request_lost", Outcome.NOT_STORED)])
def test_check_outcome_when_the_marker_of_the_key_is_gone(
    upstash: LocalUpstash, call: Call, run: Run, fault: Any, outcome: Outcome
) -> None:
    lost = _lost(upstash, fault, "A")
    run("DEL", lost.marker)
    assert call(_history(upstash), "check_outcome", lost, in_flight_seconds=0) is outcome


def test_check_outcome_is_not_deceived_by_a_message_that_names_the_record(upstash: LocalUpstash, call: Call) -> None:
    history = _history(upstash, retries=0)
    upstash.faults.next("request_lost")
    with pytest.raises(OutcomeUnknown) as caught:
        call(history, "add_messages", [HumanMessage("A")])
    rid = str(caught.value.record_ids[-1])
    history.add_messages([HumanMessage(f'"rid":"{rid}"', additional_kwargs={"lost": rid})])
    assert call(history, "check_outcome", caught.value, in_flight_seconds=0) is Outcome.NOT_STORED


@pytest.mark.parametrize("wrong", ["60", None, -1, float("nan"), True])
@pytest.mark.parametrize("by_key", [True, False])
def test_an_invalid_in_flight_time_is_refused(upstash: LocalUpstash, either: Call, wrong: Any, by_key: bool) -> None:
    lost = "evt" if by_key else _lost(upstash, "reply_lost", "A")
    with pytest.raises(ValueError, match="in_flight_seconds"):
        either(_history(upstash), "check_outcome", lost, in_flight_seconds=wrong)


@pytest.mark.parametrize(
    ("first", "second"), [({"a": 1, "b": {"c": 1, "d": 2}}, {"b": {"d": 2, "c": 1}, "a": 1}), ({1: 2, "x": 3},) * 2]
)
def test_equal_messages_are_no_conflict(
    upstash: LocalUpstash, either: Call, first: dict[Any, Any], second: dict[Any, Any]
) -> None:
    history = _history(upstash)
    for kwargs in (first, second):
        either(history, "add_messages", [AIMessage("x", additional_kwargs=kwargs)], idempotency_key="evt")
    assert _texts(history) == ["x"]
    with pytest.raises(IdempotencyConflict):
        either(history, "add_messages", [AIMessage("x", additional_kwargs={"a": 1})], idempotency_key="evt")


def test_copies_in_other_processes_do_not_all_pause_for_the_same_time(upstash_environment: LocalUpstash) -> None:
    pickled = pickle.dumps(RetryPolicy())
    assert pickle.loads(pickled).read.jitter() != pickle.loads(pickled).read.jitter()
    assert len(pickle.dumps(UpstashRedisChatMessageHistory("s"))) < 2000


@pytest.mark.parametrize("wrong", [{"read": 5}, {"append": None}, {"idempotent": "x"}])
def test_an_invalid_retry_policy_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be a Budget"):
        RetryPolicy(**wrong)
    with pytest.raises(ValueError, match="jitter"):
        Budget(jitter=0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", ["", None, 7, "\ud800"])
def test_a_session_id_that_is_set_later_is_checked_too(
    upstash: LocalUpstash, either: Call, run: Run, wrong: Any
) -> None:
    history = _history(upstash)
    history.session_id = wrong
    for name, arguments in (("add_messages", [[HumanMessage("x")]]), ("messages", []), ("clear", [])):
        with pytest.raises(ValueError, match="session_id"):
            either(history, name, *arguments)
    assert run("DBSIZE") == 0


@pytest.mark.parametrize("wrong", [None, 7, Record("human", {"content": "x"})])
def test_anything_but_a_list_is_refused(upstash: LocalUpstash, either: Call, wrong: Any) -> None:
    with pytest.raises(UnstorableMessage):
        either(_history(upstash), "add_messages", wrong)
    with (
        Store(upstash.url, upstash.token) as store,
        pytest.raises(UnstorableMessage, match="append takes a list of records"),
    ):
        either(store.session("s"), "append", wrong)


@pytest.mark.parametrize("wrong", [{"store": "https://x.upstash.io"}, {"refresh_ttl_on_read": "false"}])
def test_options_of_another_kind(monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any]) -> None:
    monkeypatch.setenv("UPSTASH_REDIS_REST_URL", "https://x.upstash.io")
    monkeypatch.setenv("UPSTASH_REDIS_REST_TOKEN", "t")
    with pytest.raises(ValueError, match=next(iter(wrong))):
        UpstashRedisChatMessageHistory("s", **wrong)


def test_a_turn_that_could_not_be_stored_is_told_of_too(
    upstash: LocalUpstash, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Exception] = []
    history = _history(upstash, on_write_error=seen.append, retries=0)
    with pytest.raises(OutcomeUnknown) as caught, history.guarded_turn() as turn:
        turn.add_user_message("mine")
        upstash.faults.next("reply_lost")
    assert seen == [caught.value]
    (line,) = [record.getMessage() for record in caplog.records if record.name == "chatstash"]
    assert "It is unknown whether" in line


def test_a_turn_that_others_disturbed_is_an_answer_and_no_failure(
    upstash: LocalUpstash, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Exception] = []
    history = _history(upstash, on_write_error=seen.append)
    with pytest.raises(ConcurrentTurn) as caught, history.guarded_turn() as turn:
        turn.add_user_message("mine")
        _history(upstash).add_user_message("theirs")
    assert [message.content for message in caught.value.messages] == ["theirs"]
    assert (seen, caplog.records) == ([], [])
