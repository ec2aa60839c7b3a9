"""Attacks on what is promised: each of these was possible once."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from chatstash import ConcurrentTurn, CorruptRecord, QuotaExceeded, RecordTooLarge, UpstashRedisChatMessageHistory
from chatstash.local import Limits, LocalUpstash, LoggedRequest
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
def test_a_list_read_in_pages_of_one_record_is_never_a_mixture(small: LocalUpstash, call: Call, change: str) -> None:
    small.reset()
    history = _history(small)
    history.add_messages(_large(6, 150_000, "old"))
    reading = threading.Event()
    pages = itertools.count(1)

    def seen(request: LoggedRequest) -> None:
        if "LRANGE" in str(request.commands) and next(pages) == 6:
            reading.set()

    small.on_request(seen)
    # Each page of this read waits, so that the change falls between two of them.
    small.faults.add("delay", seconds=0.1, matching="LRANGE")
    expected = [f"old{number}" for number in range(6)]

    def change_it() -> None:
        reading.wait(10)
        if change == "trim":
            command(small, "LTRIM", history.key, 0, 4)
        elif change == "shorten":
            command(small, "LTRIM", history.key, 0, 0)
        else:
            other = _history(small)
            other.clear()
            other.add_messages(_large(6, 150_000, "new"))

    changing = threading.Thread(target=change_it)
    changing.start()
    found = [message.content.strip() for message in call(history, "messages")]
    changing.join()
    small.on_request(None)
    after = {"trim": expected[1:], "shorten": expected[5:], "replace": [f"new{number}" for number in range(6)]}[change]
    assert found in (expected, after)


def test_a_turn_is_not_disturbed_by_the_copies_its_own_read_takes_out(
    upstash: LocalUpstash, call: Call, run: Run
) -> None:
    history = _history(upstash)
    call(history, "add_messages", [HumanMessage("question"), HumanMessage("answer")])
    for index in (-1, -2):
        run("LPUSH", history.key, run("LINDEX", history.key, index))
    with history.turn() as turn:
        turn.add_user_message("mine")
    assert _texts(history) == ["question", "answer", "mine"]
    assert run("LLEN", history.key) == 3


def test_the_place_of_a_corrupt_record_is_that_after_copies_were_taken_out(upstash: LocalUpstash, run: Run) -> None:
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
    with pytest.raises(ConcurrentTurn), history.turn() as turn:
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
    with pytest.raises(ConcurrentTurn) as caught, history.turn() as turn:
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
        with pytest.raises(ConcurrentTurn), history.turn() as turn:
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
