"""Every window is taken by the real formatters of model providers, whatever was cut off or is damaged."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    FunctionMessage,
    HumanMessage,
    ToolMessage,
)

from chatstash.history.doctor.diagnosis import diagnose
from chatstash.history.doctor.repair import plan_repairs
from chatstash.history.records.decoding import decode
from chatstash.history.records.encoding import encode
from chatstash.history.records.record import Record
from chatstash.history.tool_calls.view import View, apply_view
from chatstash.langchain.messages import to_message, to_records, why_unreadable
from tests.history.doctor.test_diagnosis import NOW, apply, randomness
from tests.providers import TAKES

Turn = Callable[[str], list[BaseMessage]]


def calls(*ids: str) -> list[Any]:
    return [{"name": f"tool_{call_id}", "args": {"x": 1}, "id": call_id} for call_id in ids]


def tool_use(*ids: str) -> list[Any]:
    return [{"type": "tool_use", "name": f"tool_{call_id}", "input": {"x": 1}, "id": call_id} for call_id in ids]


def tool_result(*ids: str) -> list[Any]:
    return [{"type": "tool_result", "tool_use_id": call_id, "content": f"r-{call_id}"} for call_id in ids]


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def results(*ids: str) -> list[BaseMessage]:
    return [ToolMessage(f"r-{call_id}", tool_call_id=call_id) for call_id in ids]


def just_text(_: str) -> list[BaseMessage]:
    return [HumanMessage("q"), AIMessage("a")]


def one_call(i: str) -> list[BaseMessage]:
    return [HumanMessage("q"), AIMessage("", tool_calls=calls(i)), *results(i), AIMessage("a")]


def parallel(i: str) -> list[BaseMessage]:
    ids = i + "1", i + "2", i + "3"
    return [HumanMessage("q"), AIMessage("I look", tool_calls=calls(*ids)), *results(*ids[::-1]), AIMessage("a")]


def agent_loop(i: str) -> list[BaseMessage]:
    steps = [[AIMessage("", tool_calls=calls(i + n)), *results(i + n)] for n in "1234"]
    return [HumanMessage("q"), *(message for step in steps for message in step), AIMessage("a")]


def structured_output(i: str) -> list[BaseMessage]:
    return [HumanMessage("q"), AIMessage("", tool_calls=calls(i))]


def two_human_messages(i: str) -> list[BaseMessage]:
    return [HumanMessage("q"), AIMessage("", tool_calls=calls(i)), *results(i), HumanMessage("and?"), AIMessage("a")]


def old_openai_tools(i: str) -> list[BaseMessage]:
    call = {"id": i, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    return [HumanMessage("q"), AIMessage("", additional_kwargs={"tool_calls": [call]}), *results(i), AIMessage("a")]


def invalid_call(i: str) -> list[BaseMessage]:
    invalid = {"name": "f", "args": "{", "id": i, "error": None}
    return [HumanMessage("q"), AIMessage("", invalid_tool_calls=[invalid]), *results(i), AIMessage("a")]  # type: ignore[list-item]


def old_function(i: str) -> list[BaseMessage]:
    call = {"name": f"f{i}", "arguments": "{}"}
    answer = FunctionMessage("5", name=f"f{i}")
    return [HumanMessage("q"), AIMessage("", additional_kwargs={"function_call": call}), answer, AIMessage("a")]


def anthropic_blocks(i: str) -> list[BaseMessage]:
    ids = i + "1", i + "2"
    content = [text("I look"), *tool_use(*ids)]
    return [HumanMessage("q"), AIMessage(content, tool_calls=calls(*ids)), *results(*ids), AIMessage("a")]


def anthropic_results(i: str) -> list[BaseMessage]:
    ids = i + "1", i + "2"
    answer = HumanMessage([*tool_result(*ids), text("and tell me")])
    return [HumanMessage("q"), AIMessage([text("I look"), *tool_use(*ids)]), answer, AIMessage("a")]


def anthropic_invalid_call(i: str) -> list[BaseMessage]:
    _, asks, *rest = invalid_call(i)
    return [HumanMessage("q"), asks.model_copy(update={"content": tool_use(i)}), *rest]


def anthropic_server_tool(i: str) -> list[BaseMessage]:
    found: list[Any] = [
        {"type": "server_tool_use", "id": f"srv{i}", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": f"srv{i}", "content": []},
        text("found"),
    ]
    return [HumanMessage("q"), AIMessage(found)]


def responses_blocks(i: str) -> list[BaseMessage]:
    block: dict[str, Any] = {
        "type": "function_call",
        "id": f"fc_{i}",
        "call_id": i,
        "name": f"tool_{i}",
        "arguments": "{}",
    }
    return [HumanMessage("q"), AIMessage([text("I look"), block], tool_calls=calls(i)), *results(i), AIMessage("a")]


def responses_custom(i: str) -> list[BaseMessage]:
    block: dict[str, Any] = {
        "type": "custom_tool_call",
        "id": f"ctc_{i}",
        "call_id": i,
        "name": f"tool_{i}",
        "input": "x",
    }
    output: list[Any] = [{"type": "custom_tool_call_output", "output": "done"}]
    answer = ToolMessage(output, tool_call_id=i)
    return [HumanMessage("q"), AIMessage([block], tool_calls=calls(i)), answer, AIMessage("a")]


EVERYWHERE: list[Turn] = [
    just_text, one_call, parallel, agent_loop, structured_output, two_human_messages, old_openai_tools,
]  # fmt: skip
# The oldest langchain-anthropic sends an invalid call only where it is among the content blocks.
TURNS: dict[str, list[Turn]] = {
    "openai": [*EVERYWHERE, invalid_call, anthropic_blocks, old_function],
    "responses": [*EVERYWHERE, invalid_call, anthropic_blocks, responses_blocks, responses_custom],
    "anthropic": [*EVERYWHERE, anthropic_blocks, anthropic_results, anthropic_invalid_call, anthropic_server_tool],
    "gemini": [*EVERYWHERE, invalid_call, old_function],
}
WHOLE = {name: [turn for turn in turns if turn is not structured_output] for name, turns in TURNS.items()}


def conversation(provider: str, turns: Sequence[Turn], picks: Sequence[int], ids: str) -> list[BaseMessage]:
    # langchain-openai sends a call with an id of an earlier turn to the Responses API only once, and
    # langchain-google-genai takes the result of the earlier turn.
    ids = "new" if provider in {"responses", "gemini"} else ids
    made = [turns[pick % len(turns)](f"c{place if ids == 'new' else 0}") for place, pick in enumerate(picks)]
    return [message for turn in made for message in turn]


def stored(messages: Sequence[BaseMessage]) -> list[Record]:
    """Return messages as a database gives them back."""
    return [decode(encode(record).encode()) for record in to_records(messages)]


def read(records: Sequence[Any]) -> list[BaseMessage]:
    return [to_message(record) for record in records]


def damaged(messages: list[BaseMessage], chance: random.Random) -> list[BaseMessage]:
    """Return messages as deletions, duplicates, races and interruptions leave them."""
    for _ in range(chance.randrange(5)):
        if not messages:
            break
        place, other = chance.randrange(len(messages)), chance.randrange(len(messages))
        match chance.randrange(4):
            case 0:
                del messages[place]
            case 1 if not isinstance(messages[place], AIMessage):
                messages.insert(other, messages[place])
            case 2:
                messages.insert(other, messages.pop(place))
            case 3:
                messages.insert(place, HumanMessage("are you there?"))
    return messages


CASES = st.tuples(
    st.sampled_from(list(TAKES)), st.lists(st.integers(0, 20), max_size=5), st.sampled_from(["new", "same"]),
    st.randoms(use_true_random=False), st.integers(1, 30), st.booleans(), st.booleans(),
)  # fmt: skip


@settings(max_examples=400)
@given(CASES)
def test_a_window_of_any_conversation_is_taken(case: Any) -> None:
    provider, picks, ids, chance, last, from_human, answered = case
    records = stored(damaged(conversation(provider, TURNS[provider], picks, ids), chance))[-last:]
    view = View("answered" if answered else "paired", ("human",) if from_human else ())
    window = read(apply_view(records, view).entries)
    TAKES[provider](window, from_human=from_human)
    if answered:
        TAKES[provider]([*window, HumanMessage("next")])


@settings(max_examples=200)
@given(CASES)
def test_a_valid_conversation_is_given_as_it_is_stored_and_the_doctor_finds_nothing(case: Any) -> None:
    provider, picks, ids, *_ = case
    messages = conversation(provider, WHOLE[provider], picks, ids)
    TAKES[provider](messages, from_human=True)
    records = stored(messages)
    given = apply_view(records, View("answered")).entries
    assert all(one is other for one, other in zip(given, records, strict=True))
    assert diagnose([record.raw for record in records], why_unreadable, now_ms=NOW) == []


@settings(max_examples=300)
@given(CASES)
def test_what_the_doctor_leaves_is_taken(case: Any) -> None:
    provider, picks, _, chance, *_ = case
    # A call in OpenAI's oldest form is left unanswered.
    turns = [turn for turn in TURNS[provider] if turn is not old_function]
    messages = conversation(provider, turns, picks, "new")
    for _ in range(chance.randrange(4)):
        if messages:
            place = chance.randrange(len(messages))
            twice = isinstance(messages[place], ToolMessage) and chance.randrange(2)
            messages[place : place + 1] = [messages[place]] * 2 if twice else []
    # Nothing is in progress.
    messages.append(HumanMessage("bye"))
    raws = [record.raw for record in stored(messages)]
    plan = plan_repairs("k", raws, diagnose(raws, why_unreadable, now_ms=NOW), now_ms=NOW, randomness=randomness)
    after, _ = apply(raws, plan)
    TAKES[provider](read([decode(raw) for raw in after]))
    assert diagnose(after, why_unreadable, now_ms=NOW) == []
