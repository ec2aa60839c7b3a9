"""Reading for a model, through the real server: calls with their results, and the right beginning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    trim_messages,
)

from chatstash import Cursor, Record, Store, UpstashRedisChatMessageHistory
from chatstash.history.tool_calls.formats import NO_RESULT
from chatstash.local import LocalUpstash
from tests.conftest import Call, call_async, call_sync
from tests.history.tool_calls.test_formats import ALLOWED, ANSWERED, RESULTS
from tests.providers import TAKES

Run = Callable[..., Any]
SYSTEM = SystemMessage("be kind")


def asks(*ids: str, text: str = "") -> AIMessage:
    return AIMessage(text, tool_calls=[{"name": "f", "args": {}, "id": call_id} for call_id in ids])


def answer(call_id: str) -> ToolMessage:
    return ToolMessage(f"r-{call_id}", tool_call_id=call_id)


def _history(upstash: LocalUpstash, **options: Any) -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory("s", upstash.url, upstash.token, **options)


def _texts(messages: list[BaseMessage]) -> list[Any]:
    return [message.content for message in messages]


def taken_by_all(messages: list[BaseMessage], *, from_human: bool = False) -> None:
    for takes in TAKES.values():
        takes(messages, from_human=from_human)


@pytest.mark.parametrize(
    ("stored", "last", "expected", "omitted"),
    [
        # The call was cut off, and its result is not the first of the window.
        ([asks("a"), HumanMessage("h"), answer("a"), AIMessage("end")], 3, ["h", "end"], 1),
        # The cut is between two parallel results.
        ([asks("a", "b"), answer("a"), answer("b"), AIMessage("end")], 2, ["end"], 3),
        # The result stands after what somebody said meanwhile.
        ([asks("a"), HumanMessage("h"), answer("a"), AIMessage("end")], 9, ["", "r-a", "h", "end"], 0),
        # The calls never got a result.
        ([asks("a", "b", text="I look"), answer("b"), HumanMessage("h")], 9, ["I look", "r-b", NO_RESULT, "h"], 0),
        # The last call waits for its tools.
        ([HumanMessage("h"), asks("a", "b"), answer("a")], 9, ["h", "", "r-a"], 0),
        # A result that is there twice, and one of no call.
        ([asks("a"), answer("a"), answer("a"), answer("x"), AIMessage("end")], 9, ["", "r-a", "end"], 0),
    ],
)
def test_windows_hold_calls_with_their_results(
    upstash: LocalUpstash, either: Call, stored: list[BaseMessage], last: int, expected: list[str], omitted: int
) -> None:
    history = _history(upstash)
    history.add_messages(stored)
    for result in (either(history, "read", last=last), either(history, "read", last=last, max_tokens=10**6)):
        assert (_texts(result.messages), result.omitted) == (expected, omitted)
        assert result.cost.requests == 1
        assert [record.data["content"] for record in result.records] == expected
        taken_by_all(result.messages)
    assert either(_history(upstash, read_last=last), "messages") == result.messages
    assert either(history, "messages") == stored
    assert either(history, "read", last=last, tool_calls="stored").messages == stored[-last:]


def test_bounded_storage_gives_calls_with_their_results(upstash: LocalUpstash) -> None:
    history = _history(upstash, max_stored_messages=3)
    history.add_messages([HumanMessage("q"), asks("a"), answer("a")])
    history.add_messages([HumanMessage("more")])
    history.add_messages([HumanMessage("and more")])
    assert _texts(history.messages) == ["more", "and more"]


@pytest.mark.parametrize(
    ("asking", "result"),
    [*((each, RESULTS[0]) for each in [*ANSWERED, *ALLOWED]), *((ANSWERED[0], each) for each in RESULTS)],
)
def test_bounded_storage_trims_every_form_of_result_with_its_call(
    upstash: LocalUpstash, run: Run, asking: AIMessage, result: BaseMessage
) -> None:
    history = _history(upstash, max_stored_messages=3)
    history.add_messages([asking, result, AIMessage("end")])
    history.add_messages([HumanMessage("more")])
    assert run("LLEN", history.key) == 2


def test_bounded_storage_takes_no_call_for_a_result(upstash: LocalUpstash, run: Run) -> None:
    holds_both = AIMessage([{"type": "tool_result", "tool_use_id": "a", "content": "r"}])
    history = _history(upstash, max_stored_messages=2)
    history.add_messages([asks("a"), holds_both])
    history.add_messages([HumanMessage("more")])
    assert run("LLEN", history.key) == 2


def test_paging_on_from_a_window_loses_and_repeats_nothing(upstash: LocalUpstash) -> None:
    turns = [[HumanMessage(f"q{n}"), asks(f"{n}a", f"{n}b"), answer(f"{n}a"), answer(f"{n}b"), AIMessage(f"e{n}")]
             for n in range(4)]  # fmt: skip
    stored = [message for turn in turns for message in turn]
    history = _history(upstash)
    history.add_messages(stored)
    for last in range(1, 21):
        for start_on in (None, "human", "ai"):
            result = history.read(last=last, start_on=start_on)
            found = result.messages
            assert result.omitted == len(stored) - len(found)
            assert not found or start_on is None or found[0].type == start_on
            while result.cursor is not None:
                cursor = Cursor.parse(str(result.cursor))
                result = history.read(before=cursor, limit=7)
                found = [*result.messages, *found]
            assert found == stored


def test_pages_for_a_model(upstash: LocalUpstash, call: Call) -> None:
    history = _history(upstash)
    history.add_messages([asks("a", "b"), answer("a"), answer("b"), HumanMessage("q"), asks("c"), HumanMessage("end")])
    cursor = history.read(last=1).cursor
    assert _texts(call(history, "read", before=cursor, limit=3).messages) == ["r-b", "q", ""]
    page = call(history, "read", before=cursor, limit=3, tool_calls="paired")
    assert (_texts(page.messages), page.omitted) == (["q", "", NO_RESULT], 3)
    older = call(history, "read", before=page.cursor, tool_calls="paired")
    assert (_texts(older.messages), older.omitted, older.cursor) == (["", "r-a", "r-b"], 0, None)


def test_a_structured_output_is_answered_for_the_next_turn(upstash: LocalUpstash) -> None:
    stored = [HumanMessage("q"), asks("a")]
    _history(upstash).add_messages(stored)
    history = _history(upstash, tool_calls="answered")
    before = upstash.stats
    messages = history.messages
    spent = upstash.stats - before
    assert (spent.requests, spent.commands) == (1, 1)
    assert _texts(messages) == ["q", "", NO_RESULT]
    taken_by_all([*messages, HumanMessage("next")], from_human=True)
    assert history.read(tool_calls="paired").messages == stored
    assert _history(upstash).messages == stored
    with history.guarded_turn() as turn:
        assert turn.messages == messages
        turn.add_user_message("next")
    assert _history(upstash).messages == [*stored, HumanMessage("next")]


START_ON: list[Any] = ["human", ["human"], HumanMessage, (HumanMessage, "system"), [HumanMessage]]


@pytest.mark.parametrize("start_on", START_ON, ids=repr)
def test_what_is_read_begins_as_wanted(upstash: LocalUpstash, either: Call, start_on: Any) -> None:
    stored = [SYSTEM, AIMessage("a0"), HumanMessage("q1"), AIMessage("a1"), HumanMessage("q2"), asks("b"), answer("b")]
    _history(upstash).add_messages([*stored, AIMessage("a2")])
    history = _history(upstash, start_on=start_on, keep_system=True)
    assert _texts(either(history, "read", last=3).messages) == ["be kind"]
    assert _texts(either(history, "read", last=5).messages) == ["be kind", "q2", "", "r-b", "a2"]
    result = either(history, "read", last=5)
    assert (_texts(result.messages), result.omitted) == (["be kind", "q2", "", "r-b", "a2"], 3)
    whole = either(history, "read")
    assert (_texts(whole.messages)[:2], whole.omitted) == (["be kind", "q1"], 1)
    assert either(history, "messages") == whole.messages
    assert _texts(either(_history(upstash), "read", last=5, start_on=start_on).messages)[0] == "q2"
    assert _texts(either(history, "read", last=3, start_on=()).messages) == ["be kind", "", "r-b", "a2"]
    assert _texts(either(history, "read", last=3, start_on=AIMessage).messages) == ["be kind", "", "r-b", "a2"]


def test_start_on_and_tool_calls_of_a_store_and_a_session(upstash: LocalUpstash) -> None:
    records = [Record("ai", {"content": "a"}), Record("human", {"content": "q"}), Record("ai", {"content": "b"})]
    with Store(upstash.url, upstash.token, start_on="human", tool_calls="answered") as store:
        session = store.session("s")
        session.append(records)
        assert [record.type for record in session.records()] == ["human", "ai"]
        assert UpstashRedisChatMessageHistory("s", store=store).messages[0].type == "human"
        assert len(store.session("s", start_on=()).records()) == 3
        assert [record.type for record in session.read(last=1).records] == []
        assert len(session.read(last=1, start_on=["ai", "tool"]).records) == 1
        session.append([Record("ai", {"content": "", "tool_calls": [{"name": "f", "args": {}, "id": "a"}]})])
        assert session.records()[-1].data["content"] == NO_RESULT
        assert session.read(tool_calls="stored").records[-1].type == "ai"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"start_on": "user"}, "start_on must be a message type"),
        ({"start_on": ["human", 5]}, "start_on must be"),
        ({"start_on": 5}, "start_on must be"),
        ({"start_on": int}, "no message is read as int"),
        ({"tool_calls": "dropped"}, "tool_calls must be one of stored, paired, answered"),
    ],
)
def test_invalid_arguments_are_refused(
    upstash: LocalUpstash, either: Call, arguments: dict[str, Any], words: str
) -> None:
    before = upstash.stats
    with pytest.raises(ValueError, match=words):
        _history(upstash, **arguments)
    with pytest.raises(ValueError, match=words):
        either(_history(upstash), "read", last=5, **arguments)
    with pytest.raises(ValueError, match="either start_on= or before="):
        either(_history(upstash), "read", before=f"0-{'0' * 40}", start_on="human")
    assert upstash.stats == before


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kinds=st.lists(st.sampled_from(["human", "ai", "system"]), max_size=30),
    most=st.integers(1, 60),
    last=st.none() | st.integers(1, 30),
    keep_system=st.booleans(),
    start_on=st.sampled_from(["human", ["human", "system"], AIMessage, (HumanMessage,)]),
    colour=st.booleans(),
)
def test_start_on_gives_what_trim_messages_gives(
    upstash: LocalUpstash, kinds: list[str], most: int, last: int | None, keep_system: bool, start_on: Any, colour: bool
) -> None:
    upstash.flush()
    made = {"human": HumanMessage, "ai": AIMessage, "system": SystemMessage}
    stored: list[BaseMessage] = [made[kind]("x" * (place % 7)) for place, kind in enumerate(kinds)]
    history = _history(upstash, keep_system=keep_system, start_on=start_on)
    history.add_messages(stored)
    reading = call_async if colour else call_sync

    def characters(messages: list[BaseMessage]) -> int:
        return sum(len(message.content) for message in messages)

    def trimmed(max_tokens: int, counter: Any, messages: list[BaseMessage]) -> list[BaseMessage]:
        return trim_messages(
            messages, max_tokens=max_tokens, token_counter=counter, strategy="last", include_system=keep_system,
            start_on=start_on,
        )  # fmt: skip

    result = reading(history, "read", max_tokens=most, token_counter=characters)
    expected = trimmed(most, characters, stored)
    assert result.messages == expected
    assert result.omitted == len(stored) - len(expected)
    if last is not None:
        has_system = bool(keep_system and stored and stored[0].type == "system")
        assert reading(history, "read", last=last).messages == trimmed(last + has_system, len, stored)


UNREADABLE: list[list[Any]] = [
    [HumanMessage("q"), asks("a"), "bad", answer("a"), AIMessage("end"), HumanMessage("next")],
    [HumanMessage("q"), asks("a"), "bad", AIMessage("end"), HumanMessage("next")],
    [HumanMessage("q"), "bad", answer("a"), AIMessage("end"), HumanMessage("next")],
    ["bad", AIMessage("end"), "bad", "bad", HumanMessage("next"), "bad"],
    [HumanMessage("q"), '{"type":"ai","data":{"content":{},"tool_calls":[{"name":"f","args":{},"id":"a"}]}}',
     answer("a"), HumanMessage("next")],
    [SYSTEM, HumanMessage("q"), '{"type":"ai","data":{},"v":9}', answer("a"), HumanMessage("next")],
]  # fmt: skip


@pytest.mark.parametrize("stored", UNREADABLE)
@pytest.mark.parametrize("on_corrupt", ["skip", "placeholder"])
def test_what_cannot_be_read_leaves_what_providers_take(
    upstash: LocalUpstash, either: Call, run: Run, stored: list[Any], on_corrupt: Any
) -> None:
    history = _history(upstash, on_corrupt=on_corrupt)
    for message in stored:
        run("LPUSH", history.key, message) if isinstance(message, str) else history.add_messages([message])
    wanted: list[dict[str, Any]] = [{}, {"last": 9}, {"last": 4}, {"last": 9, "start_on": "human"}]
    for window in (*wanted, {"max_tokens": 10**6}):
        result = either(history, "read", **window)
        assert len(result.messages) == len(result.records) > 0
        taken_by_all(result.messages, from_human="start_on" in window)
    session = Store(upstash.url, upstash.token).session("s", on_corrupt=on_corrupt)
    for window in wanted:
        assert either(session, "read", **window).records
