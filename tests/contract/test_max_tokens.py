"""Token budgets, through the local server: exact, valid for model providers, and little is fetched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage, trim_messages
from langchain_core.messages.utils import count_tokens_approximately

from chatstash import Store, UnreadableRecord, UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash
from tests.conftest import Call

Run = Callable[..., Any]
KEY = "message_store:s"
SYSTEM = SystemMessage("be kind")
CALL = AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}, {"name": "g", "args": {}, "id": "2"}])
RESULTS = [ToolMessage("1", tool_call_id="1"), ToolMessage("2", tool_call_id="2")]


def _characters(messages: list[BaseMessage]) -> int:
    return sum(len(message.content) for message in messages)


def _of_one(message: BaseMessage) -> int:
    return len(message.content)


def _with_overhead(messages: list[BaseMessage]) -> int:
    """Not the sum over messages, like the counters of model providers."""
    return 7 + _characters(messages) + 2 * len(messages)


class _Model(FakeListChatModel):
    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Any = None) -> int:
        return _characters(messages)


MODEL = _Model(responses=["x"])
COUNTERS = [_characters, _of_one, MODEL, _with_overhead, len, "approximate", None]


def _history(upstash: LocalUpstash, **options: Any) -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory("s", upstash.url, upstash.token, **options)


def _texts(messages: list[BaseMessage]) -> list[str]:
    return [str(message.content) for message in messages]


def _total(counter: Any, messages: list[BaseMessage]) -> int:
    if counter in ("approximate", None):
        return count_tokens_approximately(messages)
    if counter is MODEL:
        return MODEL.get_num_tokens_from_messages(messages)
    return sum(map(_of_one, messages)) if counter is _of_one else counter(messages)


@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("most", [1, 100, 10_000])
def test_the_newest_messages_that_fit_by_any_counter(
    upstash: LocalUpstash, call: Call, counter: Any, most: int
) -> None:
    stored = [HumanMessage("x" * (1 + number % 17)) for number in range(60)]
    history = _history(upstash, max_tokens=most, token_counter=counter)
    history.add_messages(stored)
    result = call(history, "read")
    kept = len(result.messages)
    assert result.messages == stored[60 - kept :]
    assert call(history, "messages") == result.messages
    assert result.omitted == 60 - kept
    assert not kept or _total(counter, result.messages) <= most
    assert kept == 60 or _total(counter, stored[60 - kept - 1 :]) > most
    assert [record.data["content"] for record in result.records] == _texts(result.messages)


def test_the_arguments_of_a_read(upstash: LocalUpstash) -> None:
    history = _history(upstash, token_counter=_characters)
    history.add_messages([HumanMessage("12345")] * 10)
    assert len(history.messages) == 10
    assert len(history.read(max_tokens=24).messages) == 4
    assert len(history.read(max_tokens=24, token_counter=len).messages) == 10
    assert len(history.read(max_tokens=24, last=3).messages) == 3
    bounded = _history(upstash, max_tokens=24, token_counter=_characters)
    assert len(bounded.read(last=7).messages) == 7
    page = bounded.read(before=bounded.read().cursor)
    assert len(page.messages) == 6


def test_a_budget_and_a_number_of_messages(upstash: LocalUpstash) -> None:
    history = _history(upstash, max_tokens=24, read_last=3, token_counter=_characters)
    history.add_messages([HumanMessage("12345")] * 2 + [HumanMessage("1")] * 8)
    assert _texts(history.messages) == ["1"] * 3
    assert _texts(history.read(last=9).messages) == ["12345"] + ["1"] * 8


@pytest.mark.parametrize(
    ("counter", "most"),
    [(_characters, 1), (_characters, 7), (_characters, 50), (_with_overhead, 50), (_characters, 500)],
)
def test_the_system_message_is_kept_and_counted(upstash: LocalUpstash, counter: Any, most: int) -> None:
    stored = [SYSTEM, *(HumanMessage("12345") for _ in range(50))]
    history = _history(upstash, max_tokens=most, token_counter=counter, keep_system=True)
    history.add_messages(stored)
    result = history.read()
    kept = result.messages[1:]
    assert result.messages == [SYSTEM, *stored[51 - len(kept) :]]
    assert result.omitted == 50 - len(kept)
    assert not kept or counter(result.messages) <= most
    assert len(kept) == 50 or counter([SYSTEM, *stored[50 - len(kept) :]]) > most
    without = history.read(keep_system=False, max_tokens=most)
    assert SYSTEM not in without.messages or len(without.messages) == 51


def test_it_never_begins_with_a_result_without_its_call(upstash: LocalUpstash) -> None:
    stored = [HumanMessage("ab"), CALL, *RESULTS, AIMessage("end")]
    history = _history(upstash)
    history.add_messages(stored)
    for most in range(1, 13):
        result = history.read(max_tokens=most, token_counter=_characters)
        expected = [] if most < 3 else [stored[-1]] if most < 5 else stored[1:] if most < 7 else stored
        assert (result.messages, result.omitted) == (expected, 5 - len(expected)), most


def test_a_call_with_more_results_than_the_first_request_fetches(upstash: LocalUpstash) -> None:
    calls = AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": str(number)} for number in range(60)])
    results = [ToolMessage("1", tool_call_id=str(number)) for number in range(60)]
    history = _history(upstash)
    history.add_messages([HumanMessage("question"), calls, *results])
    result = history.read(max_tokens=61, token_counter=_characters)
    assert (result.messages, result.omitted) == ([calls, *results], 1)


@pytest.mark.parametrize("counter", [_characters, _of_one, MODEL, "approximate"])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(0, 40), max_size=60),
    # With a budget below the system message, trim_messages still returns messages without tokens.
    most=st.integers(len(SYSTEM.content), 800),
    system=st.booleans(),
)
def test_it_returns_what_trim_messages_returns(
    upstash: LocalUpstash, counter: Any, lengths: list[int], most: int, system: bool
) -> None:
    upstash.flush()
    stored: list[BaseMessage] = [*([SYSTEM] if system else []), *(HumanMessage("x" * length) for length in lengths)]
    history = _history(upstash, keep_system=True)
    history.add_messages(stored)
    found = history.read(max_tokens=most, token_counter=counter).messages
    # langchain-core does not see an annotation that is a string, and its oldest version knows no "approximate".
    by_langchain = {"approximate": count_tokens_approximately, str(_of_one): _characters}.get(str(counter), counter)
    trimmed = trim_messages(stored, max_tokens=most, token_counter=by_langchain, strategy="last", include_system=True)
    without_system = [message for message in trimmed if message != SYSTEM]
    assert [message for message in found if message != SYSTEM] == without_system
    assert (SYSTEM in found) == system


@pytest.mark.parametrize("needed", [1, 30, 3000])
def test_little_more_is_fetched_than_needed(upstash: LocalUpstash, needed: int) -> None:
    history = _history(upstash)
    for _ in range(4):
        history.add_messages([HumanMessage("x" * 40)] * 1000)
    before = upstash.stats
    result = history.read(max_tokens=40 * needed, token_counter=_characters)
    spent = upstash.stats - before
    assert len(result.messages) == needed
    assert (spent.requests, spent.commands) == (result.cost.requests, result.cost.commands)
    assert result.cost.commands == 3 * result.cost.requests
    a_record = 130
    assert spent.bytes_sent < a_record * (2 * needed + max(8, 40 * needed // 100)) + 1000
    assert result.cost.requests <= 4


def test_one_request_if_the_first_estimate_is_enough(upstash: LocalUpstash) -> None:
    history = _history(upstash, max_tokens=4000, ttl=60, refresh_ttl_on_read=True)
    history.add_messages([HumanMessage("x" * 600)] * 1000)
    result = history.read()
    assert (result.cost.requests, result.cost.commands) == (1, 4)
    assert 20 < len(result.messages) <= 40


def test_paging_continues_from_its_cursor(upstash: LocalUpstash) -> None:
    stored = [HumanMessage(f"{number:05}") for number in range(100)]
    history = _history(upstash, max_tokens=153, token_counter=_characters)
    history.add_messages(stored)
    result = history.read()
    found = result.messages
    while result.cursor is not None:
        history.add_user_message("meanwhile")
        result = history.read(before=result.cursor, limit=30)
        found = [*result.messages, *found]
    assert found == stored


def test_others_append_and_trim_during_the_read(upstash: LocalUpstash, run: Run) -> None:
    history = _history(upstash)
    stored = [HumanMessage(f"{number:05}") for number in range(100)]
    history.add_messages(stored)
    asked = 0

    def counter(messages: list[BaseMessage]) -> int:
        nonlocal asked
        asked += 1
        if asked == 1:
            _history(upstash).add_messages([HumanMessage("meanwhile")] * 3)
            run("LTRIM", KEY, 0, 60)
        return _characters(messages)

    result = history.read(max_tokens=5000, token_counter=counter)
    # The newest three were appended during the read, and the oldest were trimmed.
    assert result.messages == stored[100 - len(result.messages) :]
    assert len(result.messages) == 58
    assert (result.omitted, result.cursor) == (0, None)


def test_unreadable_records(upstash: LocalUpstash, run: Run) -> None:
    writer = _history(upstash)
    writer.add_messages([HumanMessage("12345")] * 4)
    run("LPUSH", KEY, "not JSON")
    writer.add_messages([HumanMessage("12345")] * 4)
    limits: dict[str, Any] = {"max_tokens": 30, "token_counter": _characters}
    with pytest.raises(UnreadableRecord):
        writer.read(**limits)
    assert len(writer.read(max_tokens=20, token_counter=_characters).messages) == 4
    assert _texts(_history(upstash, on_corrupt="skip").read(**limits).messages) == ["12345"] * 6
    placeholders = _history(upstash, on_corrupt="placeholder").read(**limits).messages
    assert _texts(placeholders) == ["12345"] * 4
    assert _characters(_history(upstash, on_corrupt="placeholder").read(**{**limits, "max_tokens": 70}).messages) <= 70


def test_a_guarded_turn_reads_within_the_budget(upstash: LocalUpstash) -> None:
    history = _history(upstash, max_tokens=20, token_counter=_characters)
    history.add_messages([HumanMessage("12345")] * 100)
    with history.guarded_turn() as turn:
        assert len(turn.messages) == 4
        turn.add_ai_message("x")
    assert history.count() == 101


def test_with_a_cache(upstash: LocalUpstash) -> None:
    with Store(upstash.url, upstash.token, cache_bytes=10**6) as store:
        history = UpstashRedisChatMessageHistory("s", store=store, max_tokens=4000, token_counter=_characters)
        history.add_messages([HumanMessage("x" * 100)] * 100)
        for number in range(3):
            assert len(history.messages) == 40 - (number > 0)
            history.add_messages([HumanMessage("x" * 101)])
        assert store.cache_stats().hits == 2


def test_the_error_of_a_counter_is_raised(upstash: LocalUpstash) -> None:
    def broken(messages: list[BaseMessage]) -> int:
        raise LookupError("no such model")

    history = _history(upstash, max_tokens=10, token_counter=broken)
    history.add_user_message("x")
    with pytest.raises(LookupError, match="no such model"):
        history.read()
    assert history.count() == 1


@pytest.mark.parametrize("most", [0, 1.5, True, 10**9 + 1])
def test_an_invalid_token_budget_is_refused(upstash: LocalUpstash, most: Any) -> None:
    with pytest.raises(ValueError, match="max_tokens must be a whole number from 1"):
        _history(upstash, max_tokens=most)
    before = upstash.stats
    with pytest.raises(ValueError, match="max_tokens must be a whole number from 1"):
        _history(upstash).read(max_tokens=most)
    assert (upstash.stats - before).requests == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"token_counter": _characters}, "requires max_tokens="),
        ({"max_tokens": 5, "token_counter": 7}, "token_counter must be"),
        ({"max_tokens": 5, "token_counter": "exact"}, "token_counter must be"),
        ({"max_tokens": 5, "before": f"1.2.0-{'0' * 40}-{'0' * 40}"}, "either max_tokens= or before="),
    ],
)
def test_invalid_arguments_are_refused(upstash: LocalUpstash, arguments: dict[str, Any], words: str) -> None:
    before = upstash.stats
    with pytest.raises(ValueError, match=words):
        _history(upstash).read(**arguments)
    assert (upstash.stats - before).requests == 0


def test_a_counter_must_return_a_number(upstash: LocalUpstash) -> None:
    history = _history(upstash)
    history.add_user_message("hello")
    for wrong in (None, "5", [5]):
        with pytest.raises(ValueError, match="token_counter must return a number"):
            history.read(max_tokens=5, token_counter=lambda messages, wrong=wrong: wrong)


def test_a_window_with_the_system_message(upstash: LocalUpstash) -> None:
    history = _history(upstash, read_last=3)
    history.add_messages([SYSTEM, *(HumanMessage(str(number)) for number in range(9))])
    assert _texts(history.read(keep_system=True).messages) == ["be kind", "6", "7", "8"]
