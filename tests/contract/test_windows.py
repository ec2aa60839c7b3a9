"""Windows, pages, counts and bounded storage, through the real server, for both colours."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from chatstash import ConcurrentTurn, Cursor, Store, UpstashRedisChatMessageHistory
from chatstash.local import Limits, LocalUpstash
from tests.conftest import Call, command

Run = Callable[..., Any]
SYSTEM = SystemMessage("be kind")
CALL = AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}, {"name": "g", "args": {}, "id": "2"}])
RESULTS = [ToolMessage("1", tool_call_id="1"), ToolMessage("2", tool_call_id="2")]


def _history(upstash: LocalUpstash, session_id: str = "s", **options: Any) -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory(session_id, upstash.url, upstash.token, **options)


def _numbered(first: int, last: int) -> list[HumanMessage]:
    return [HumanMessage(str(number)) for number in range(first, last)]


def _texts(result: Any) -> list[str]:
    return [message.content for message in result.messages]


@pytest.mark.parametrize("stored", [100, 10_000])
def test_what_a_window_costs_does_not_depend_on_what_is_stored(
    upstash: LocalUpstash, either: Call, stored: int
) -> None:
    history = _history(upstash)
    history.add_messages([*[HumanMessage("x" * 100)] * stored, *_numbered(0, 20)])
    before = upstash.stats
    result = either(history, "read", last=20)
    spent = upstash.stats - before
    assert (spent.requests, spent.commands) == (result.cost.requests, result.cost.commands) == (1, 3)
    assert spent.bytes_sent < 5000
    assert (_texts(result), result.omitted) == ([str(number) for number in range(20)], stored)


def test_a_window_is_at_most_as_long_as_the_conversation(upstash: LocalUpstash, call: Call) -> None:
    history = _history(upstash)
    assert (call(history, "read", last=5).messages, call(history, "read", last=5).omitted) == ([], 0)
    history.add_messages(_numbered(0, 3))
    for last in (3, 4, 100):
        result = call(history, "read", last=last)
        assert (_texts(result), result.omitted, result.cursor) == (["0", "1", "2"], 0, None)


@pytest.mark.parametrize(("last", "expected"), [(1, ["end"]), (2, ["end"]), (3, ["end"]), (4, ["", "1", "2", "end"])])
def test_a_window_never_begins_with_a_result_whose_call_is_left_out(
    upstash: LocalUpstash, either: Call, last: int, expected: list[str]
) -> None:
    history = _history(upstash)
    history.add_messages([HumanMessage("question"), CALL, *RESULTS, AIMessage("end")])
    result = either(history, "read", last=last)
    assert _texts(result) == expected
    assert result.omitted == 5 - len(expected)
    assert result.cursor is not None
    assert result.cursor.position == 5 - len(expected)


@pytest.mark.parametrize("last", [1, 2, 3, 4, 5])
def test_the_leading_system_message_can_be_kept(upstash: LocalUpstash, either: Call, last: int) -> None:
    history = _history(upstash)
    history.add_messages([SYSTEM, *_numbered(0, 3)])
    result = either(history, "read", last=last, keep_system=True)
    newest = ["0", "1", "2"][-last:]
    assert _texts(result) == ["be kind", *newest]
    assert result.omitted == 3 - len(newest)
    assert len(result.records) == len(result.messages)


def test_a_first_message_that_is_no_system_message_is_not_kept(upstash: LocalUpstash, call: Call) -> None:
    history = _history(upstash, keep_system=True)
    history.add_messages(_numbered(0, 3))
    assert _texts(call(history, "read", last=1)) == ["2"]


def test_the_options_bound_what_is_read(upstash: LocalUpstash, call: Call) -> None:
    _history(upstash).add_messages([SYSTEM, *_numbered(0, 5)])
    with Store(upstash.url, upstash.token, read_last=2, keep_system=True) as store:
        assert len(call(store.session("s"), "records")) == 3
        history = UpstashRedisChatMessageHistory("s", store=store)
        assert [message.content for message in history.messages] == ["be kind", "3", "4"]
        with history.guarded_turn() as turn:
            assert len(turn.messages) == 3
            turn.add_user_message("5")
        with pytest.raises(ConcurrentTurn), history.guarded_turn() as turn:
            turn.add_user_message("6")
            _history(upstash).add_user_message("theirs")
    history = _history(upstash, read_last=2)
    assert [message.content for message in call(history, "messages")] == ["5", "theirs"]
    assert len(call(history, "read", last=4).messages) == 4


def test_pages_lead_back_to_the_beginning(upstash: LocalUpstash, call: Call) -> None:
    history = _history(upstash)
    history.add_messages(_numbered(0, 25))
    result = call(history, "read", last=5)
    texts, omitted = _texts(result), [result.omitted]
    while result.cursor is not None:
        cursor = result.cursor if len(texts) % 2 else Cursor.parse(str(result.cursor))
        result = call(history, "read", before=cursor, limit=6)
        assert result.cost.requests == 1
        texts, omitted = [*_texts(result), *texts], [*omitted, result.omitted]
    assert texts == [str(number) for number in range(25)]
    assert omitted == [20, 14, 8, 2, 0]


def test_a_cursor_stays_right_while_others_append_and_trim(upstash: LocalUpstash, call: Call, run: Run) -> None:
    history = _history(upstash)
    history.add_messages(_numbered(0, 25))
    cursor = history.read(last=5).cursor
    history.add_messages(_numbered(25, 28))
    assert _texts(call(history, "read", before=cursor, limit=3)) == ["17", "18", "19"]
    run("LTRIM", history.key, 0, 9)
    result = call(history, "read", before=cursor, limit=3)
    assert (_texts(result), result.omitted, result.cursor) == (["18", "19"], 0, None)
    run("LTRIM", history.key, 0, 5)
    assert call(history, "read", before=cursor, limit=3).messages == []
    history.clear()
    history.add_messages(_numbered(100, 130))
    assert call(history, "read", before=cursor, limit=3).messages == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stored=st.integers(0, 40), last=st.integers(1, 12), limit=st.integers(1, 12), appended=st.integers(0, 5))
def test_a_window_and_its_pages_are_the_whole(
    upstash: LocalUpstash, stored: int, last: int, limit: int, appended: int
) -> None:
    history = _history(upstash, f"whole-{time.monotonic_ns()}")
    history.add_messages(_numbered(0, stored))
    result = history.read(last=last)
    texts = _texts(result)
    while result.cursor is not None:
        history.add_messages(_numbered(1000, 1000 + appended))
        result = history.read(before=result.cursor, limit=limit)
        texts = [*_texts(result), *texts]
    assert texts == [str(number) for number in range(stored)]


@pytest.mark.parametrize(
    "arguments",
    [
        {"last": 0},
        {"last": -1},
        {"last": True},
        {"last": "5"},
        {"last": 5, "before": Cursor(1, 2, 0, "0" * 40, "0" * 40)},
        {"limit": 5},
        {"before": Cursor(1, 2, 0, "0" * 40, "0" * 40), "limit": 0},
        {"before": "nonsense"},
        {"before": "5-abc"},
        {"before": f"5-{'0' * 40}"},
        {"before": 7},
    ],
    ids=repr,
)
def test_invalid_arguments_are_refused(upstash: LocalUpstash, either: Call, arguments: dict[str, Any]) -> None:
    before = upstash.stats
    with pytest.raises(ValueError, match=r"last|limit|cursor"):
        either(_history(upstash), "read", **arguments)
    assert upstash.stats == before


@pytest.mark.parametrize("option", ["read_last", "max_stored_messages"])
@pytest.mark.parametrize("wrong", [0, -1, True, "5", 1.5])
def test_invalid_options_are_refused(upstash: LocalUpstash, option: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=option):
        _history(upstash, **{option: wrong})


def test_counting(upstash: LocalUpstash, call: Call) -> None:
    history = _history(upstash)
    assert call(history, "count") == 0
    history.add_messages(_numbered(0, 250))
    before = upstash.stats
    assert call(history, "count") == 250
    spent = upstash.stats - before
    assert (spent.requests, spent.billed_commands) == (1, 4)


def _leave_a_late_copy(history: UpstashRedisChatMessageHistory, run: Run, after: int) -> None:
    """Append two messages, others after them, and then what a late request would leave."""
    history.add_messages([HumanMessage("a"), HumanMessage("b")])
    copies = run("LRANGE", history.key, 0, -1)[::-1]
    for number in range(after):
        history.add_user_message(str(number))
        time.sleep(0.002)
    run("LPUSH", history.key, *copies)


@pytest.mark.parametrize("after", [0, 8])
@pytest.mark.parametrize("way", ["window", "page", "count", "whole"])
def test_a_late_copy_is_given_once_by_every_way_of_reading(
    upstash: LocalUpstash, either: Call, run: Run, way: str, after: int
) -> None:
    expected = ["a", "b", *(str(number) for number in range(after)), "last"]
    history = _history(upstash)
    _leave_a_late_copy(history, run, after)
    history.add_user_message("last")
    assert run("LLEN", history.key) == len(expected) + 2
    if way == "count":
        assert either(history, "count") == len(expected)
        return
    if way == "window":
        assert _texts(either(history, "read", last=3)) == expected[-3:]
    elif way == "page":
        cursor = history.read(last=1).cursor
        assert _texts(either(history, "read", before=cursor, limit=2)) == expected[-3:-1]
    else:
        assert _texts(either(history, "read")) == expected
    assert run("LLEN", history.key) == len(expected)


def test_clocks_that_differ_make_no_message_a_duplicate(upstash: LocalUpstash, call: Call, run: Run) -> None:
    history = _history(upstash)
    for text, milliseconds in (("first", 5000), ("second", 1000)):
        rid = f"{_batch(milliseconds)}.0/1"
        run("LPUSH", history.key, f'{{"type":"human","data":{{"content":"{text}"}},"rid":"{rid}"}}')
    assert _texts(call(history, "read", last=5)) == ["first", "second"]
    assert call(history, "count") == 2


def _batch(milliseconds: int) -> str:
    return base64.urlsafe_b64encode(milliseconds.to_bytes(6) + b"random").decode()


def test_a_window_over_the_servers_limit_comes_in_pages(call: Call) -> None:
    with LocalUpstash(plan=Limits(max_request_bytes=100_000)) as upstash:
        history = _history(upstash, max_request_bytes=100_000)
        history.add_messages([HumanMessage(f"{number:03}".ljust(10_000, "x")) for number in range(60)])
        result = call(history, "read", last=30)
        assert [text[:3] for text in _texts(result)] == [f"{number:03}" for number in range(30, 60)]
        assert result.omitted == 30


@pytest.mark.parametrize("key", [None, "evt"])
@pytest.mark.parametrize("ttl", [None, 60])
def test_bounded_storage_keeps_the_newest(
    upstash: LocalUpstash, either: Call, run: Run, key: str | None, ttl: int | None
) -> None:
    history = _history(upstash, max_stored_messages=4, ttl=ttl)
    for turn in range(4):
        either(history, "add_messages", _numbered(2 * turn, 2 * turn + 2), idempotency_key=key and f"{key}{turn}")
        assert run("LLEN", history.key) == min(4, 2 * turn + 2)
    assert [message.content for message in history.messages] == ["4", "5", "6", "7"]
    assert run("TTL", history.key) == -1 if ttl is None else run("TTL", history.key) > 50


def test_what_bounded_storage_costs(upstash: LocalUpstash, call: Call) -> None:
    history = _history(upstash, max_stored_messages=4, ttl=60)
    spent = []
    for number in range(3):
        before = upstash.stats
        call(history, "add_messages", _numbered(2 * number, 2 * number + 2))
        spent.append(upstash.stats - before)
    assert [(each.requests, each.billed_commands) for each in spent] == [(1, 4), (1, 4), (1, 5)]


@pytest.mark.parametrize("fault", ["reply_lost", "request_lost"])
def test_bounded_storage_is_exactly_once_too(upstash: LocalUpstash, either: Call, run: Run, fault: str) -> None:
    history = _history(upstash, max_stored_messages=3)
    history.add_messages(_numbered(0, 3))
    upstash.faults.next(fault)
    either(history, "add_messages", _numbered(3, 5))
    assert [message.content for message in history.messages] == ["2", "3", "4"]
    with history.guarded_turn() as turn:
        turn.add_user_message("5")
    assert run("LLEN", history.key) == 3


def test_a_call_that_was_trimmed_takes_its_results_along(upstash: LocalUpstash, call: Call) -> None:
    history = _history(upstash, max_stored_messages=3)
    history.add_messages([CALL, *RESULTS])
    history.add_ai_message("end")
    assert [message.content for message in call(history, "messages")] == ["end"]


def test_an_append_over_the_bound_is_refused(upstash: LocalUpstash, call: Call) -> None:
    before = upstash.stats
    with pytest.raises(ValueError, match="max_stored_messages, 3"):
        call(_history(upstash, max_stored_messages=3), "add_messages", _numbered(0, 4))
    assert upstash.stats == before


def test_a_large_append_is_trimmed_as_well(upstash: LocalUpstash, call: Call, run: Run) -> None:
    history = _history(upstash, max_stored_messages=20, max_request_bytes=100_000)
    history.add_messages(_numbered(0, 15))
    call(history, "add_messages", [HumanMessage(f"{number:03}".ljust(10_000, "x")) for number in range(18)])
    assert run("LLEN", history.key) == 20
    assert [str(message.content)[:3] for message in history.messages][:3] == ["13", "14", "000"]


def test_a_read_only_token_counts_and_pages(call: Call) -> None:
    with LocalUpstash(read_only_token="reader") as upstash:
        _history(upstash).add_messages(_numbered(0, 30))
        reader = UpstashRedisChatMessageHistory("s", upstash.url, "reader")
        assert call(reader, "count") == 30
        cursor = call(reader, "read", last=3).cursor
        command(upstash, "LTRIM", reader.key, 0, 26)
        assert _texts(call(reader, "read", before=cursor, limit=2)) == ["25", "26"]


def test_what_is_added_after_a_guarded_turn_is_refused(upstash: LocalUpstash) -> None:
    history = UpstashRedisChatMessageHistory("s", upstash.url, upstash.token)
    with history.guarded_turn() as turn:
        turn.add_user_message("question")
    with pytest.raises(RuntimeError, match="nothing was added"):
        turn.add_ai_message("answer")
    assert [message.content for message in history.messages] == ["question"]


PAGE = str(Cursor(0, 0, 0, "0" * 40, "0" * 40))


@pytest.mark.parametrize("wanted", [{"last": 2, "keep_system": "no"}, {"before": PAGE, "keep_system": True}])
def test_keep_system_is_checked(upstash: LocalUpstash, wanted: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="keep_system"):
        UpstashRedisChatMessageHistory("s", upstash.url, upstash.token).read(**wanted)


def test_a_prefix_of_companion_keys_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="chatstash:"):
        Store("https://h", "t", key_prefix="chatstash:")
