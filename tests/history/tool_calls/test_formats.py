"""Every form of tool calls and results that LangChain and its provider packages use, known in one place."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, FunctionMessage, HumanMessage, ToolMessage

from chatstash.history.records.message_types import KNOWN_TYPES
from chatstash.history.records.record import Record
from chatstash.history.tool_calls.formats import (
    CALL_BLOCKS,
    NO_RESULT,
    OPTIONAL_CALL_BLOCKS,
    RESULT_BLOCKS,
    CallKey,
    calls_of,
    is_only_results,
    may_hold_calls_or_results,
    results_of,
)
from chatstash.history.tool_calls.normalization import normalize
from chatstash.langchain.messages import to_message, to_records

CALL = {"name": "f", "args": {}, "id": "a"}
INVALID: Any = {"name": "f", "args": "{", "id": "a", "error": None}
CHUNK: Any = {"name": "f", "args": "{", "id": "a", "index": 0}
OLD = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def block(kind: str, **fields: Any) -> AIMessage:
    return AIMessage([{"type": "text", "text": "t"}, {"type": kind, **fields}])


ANSWERED = [
    AIMessage("", tool_calls=[CALL]),  # type: ignore[list-item]
    AIMessage("", invalid_tool_calls=[INVALID]),
    AIMessageChunk("", tool_call_chunks=[CHUNK]),
    AIMessage("", additional_kwargs={"tool_calls": [OLD]}),
    block("tool_use", id="a", name="f", input={}),
    block("tool_call", id="a", name="f", args={}),
    block("invalid_tool_call", id="a", name="f", args="{", error=None),
    block("function_call", id="fc_1", call_id="a", name="f", arguments="{}"),
    block("custom_tool_call", id="ctc_1", call_id="a", name="f", input="x"),
    block("non_standard", value={"type": "custom_tool_call", "call_id": "a", "name": "f", "input": "x"}),
    AIMessage([{"toolUse": {"toolUseId": "a", "name": "f", "input": {}}}]),
    AIMessage([{"type": "tool_use", "id": "a", "name": "f", "input": {}}], tool_calls=[CALL]),  # type: ignore[list-item]
]
ALLOWED = [
    block("tool_call_chunk", id="a", name="f", args="{"),
    block("computer_call", id="cu_1", call_id="a", action={}),
    block("mcp_approval_request", id="a", name="f", arguments="{}"),
    block("apply_patch_call", id="apc_1", call_id="a", operation={}),
    block("tool_search_call", id="ts_1", call_id="a", execution="client", arguments={}),
]
NEITHER = [
    AIMessage("text"),
    block("server_tool_call", id="a", name="web_search", args={}),
    block("server_tool_use", id="a", name="web_search", input={}),
    block("web_search_tool_result", tool_use_id="a", content=[]),
    block("mcp_tool_use", id="a", name="f", input={}),
    block("mcp_tool_result", tool_use_id="a", content=[]),
    block("server_tool_result", tool_call_id="a", status="success"),
    block("code_interpreter_call", id="a", code="1"),
    block("web_search_call", id="a", status="completed"),
    block("tool_search_call", id="a", execution="server", arguments={}),
    block("tool_search_output", id="a", execution="server", tools=[]),
    AIMessage([{"type": "apply_patch_call", "call_id": "a"}, {"type": "apply_patch_call_output", "call_id": "a"}]),
]
RESULTS = [
    ToolMessage("r", tool_call_id="a"),
    ToolMessage([{"type": "tool_result", "tool_use_id": "a", "content": "r"}], tool_call_id="a"),
    HumanMessage([{"type": "tool_result", "tool_use_id": "a", "content": "r"}]),
    HumanMessage([{"type": "function_call_output", "call_id": "a", "output": "r"}]),
    HumanMessage([{"type": "custom_tool_call_output", "call_id": "a", "output": "r"}]),
    HumanMessage([{"type": "tool_search_output", "call_id": "a", "execution": "client", "tools": []}]),
    HumanMessage([{"type": "mcp_approval_response", "approval_request_id": "a", "approve": True}]),
    HumanMessage([{"toolResult": {"toolUseId": "a", "content": []}}]),
    HumanMessage([{"type": "tool_result", "toolUseId": "a", "content": []}]),
]

HOSTILE: list[dict[str, Any]] = [
    {"content": 5},
    {"content": {"type": "tool_result"}},
    {"content": [None, 5, [], {"type": []}, {"type": "tool_result"}, {"toolUse": 5}, {"toolResult": []}]},
    {"content": [{"type": "non_standard", "value": 5}, {"type": "tool_use", "id": {}}, {"type": {}, "id": "a"}]},
    {"tool_calls": 5, "invalid_tool_calls": "x", "tool_call_chunks": {}, "additional_kwargs": 5},
    {"additional_kwargs": {"tool_calls": {"a": 1}, "function_call": {"name": 5}}},
    {"additional_kwargs": {"tool_calls": [5, {"function": "x"}], "function_call": "x"}},
    {"tool_call_id": {}},
    {"name": []},
]


def record(message: Any) -> Record:
    (made,) = to_records([message])
    return made


def given(*messages: Any, allow_pending: bool = False) -> list[Any]:
    return [to_message(entry) for entry in normalize(to_records(messages), allow_pending=allow_pending).entries]  # type: ignore[arg-type]


@pytest.mark.parametrize("message", ANSWERED, ids=repr)
def test_a_call_that_requires_a_result(message: Any) -> None:
    (call,) = calls_of(record(message))
    assert (call.key, call.name, call.requires_result) == (CallKey("a"), "f", True)
    asked, stand_in, after = given(message, HumanMessage("q"))
    assert (asked.content, stand_in.tool_call_id, after.content) == (message.content, "a", "q")
    assert NO_RESULT in str(stand_in.content)
    for result in RESULTS:
        assert len(given(message, result, HumanMessage("q"))) == 3
    assert given(message, allow_pending=True) == [to_message(record(message))]


@pytest.mark.parametrize("message", ALLOWED, ids=repr)
def test_a_call_that_may_have_a_result_and_otherwise_is_left_out(message: Any) -> None:
    (call,) = calls_of(record(message))
    assert (call.key, call.requires_result) == (CallKey("a"), False)
    asked, _ = given(message, HumanMessage("q"))
    assert asked.content == [{"type": "text", "text": "t"}]
    assert len(given(message, ToolMessage("r", tool_call_id="a"), HumanMessage("q"))) == 3


@pytest.mark.parametrize("message", NEITHER, ids=repr)
def test_what_is_complete_within_its_record(message: Any) -> None:
    assert calls_of(record(message)) == results_of(record(message)) == []
    assert given(message, HumanMessage("q")) == [message, HumanMessage("q")]


@pytest.mark.parametrize("message", RESULTS, ids=repr)
def test_a_result(message: Any) -> None:
    assert [result.key for result in results_of(record(message))] == [CallKey("a")]
    assert is_only_results(record(message))
    assert given(HumanMessage("q"), message) == [HumanMessage("q")]


RUN_BY_OPENAI = {"program", "program_output"}


def test_openais_items_that_name_a_call_are_all_known() -> None:
    responses = pytest.importorskip("openai.types.responses")
    items = [get_type_hints(item) for item in get_args(responses.ResponseInputItemParam)]
    named = {kind for item in items if "call_id" in item for kind in get_args(item["type"])}
    assert named
    assert named <= {*CALL_BLOCKS, *OPTIONAL_CALL_BLOCKS, *RESULT_BLOCKS} | RUN_BY_OPENAI


def test_openais_oldest_form() -> None:
    asks = AIMessage("t", additional_kwargs={"function_call": {"name": "f", "arguments": "{}"}, "more": 1})
    answer = FunctionMessage("r", name="f")
    assert given(asks, answer) == [asks, answer]
    assert given(answer, HumanMessage("q"), FunctionMessage("r", name="g")) == [HumanMessage("q")]
    assert given(asks, HumanMessage("q")) == [AIMessage("t", additional_kwargs={"more": 1}), HumanMessage("q")]
    no_text = AIMessage("", additional_kwargs={"function_call": {"name": "f", "arguments": "{}"}})
    assert given(no_text, HumanMessage("q")) == [HumanMessage("q")]


def test_results_among_what_a_person_says() -> None:
    def result(call_id: str) -> dict[str, Any]:
        return {"type": "tool_result", "tool_use_id": call_id, "content": call_id}

    asks = AIMessage("", tool_calls=[{**CALL, "id": "a"}, {**CALL, "id": "b"}])  # type: ignore[list-item, typeddict-item]
    text = {"type": "text", "text": "t"}
    both = HumanMessage([result("a"), result("b"), text])
    assert given(asks, both) == [asks, both]
    assert not is_only_results(record(both))
    # Of one of no call, only that is left out.
    assert given(asks, HumanMessage([result("a"), result("x"), result("b"), text])) == [asks, both]
    # Results come first.
    assert given(asks, HumanMessage([text, result("a"), result("b")])) == [asks, both]
    # After what else was said, they are given directly after the call.
    said = HumanMessage("wait")
    expected = [asks, HumanMessage([result("a")]), HumanMessage([result("b")]), said, HumanMessage([text])]
    assert given(asks, said, both) == expected
    # What stands in for the missing comes before what was said.
    asked, stand_in, answer = given(asks, HumanMessage([result("a"), text]))
    assert (asked, stand_in.tool_call_id, answer) == (asks, "b", HumanMessage([result("a"), text]))


def test_a_call_without_an_id_is_left_out() -> None:
    asks = AIMessage("t", tool_calls=[{"name": "f", "args": {}, "id": None}])
    assert given(asks, HumanMessage("q")) == [AIMessage("t"), HumanMessage("q")]
    assert given(asks, ToolMessage("r", tool_call_id=""), HumanMessage("q"))[0] == asks


def test_what_has_nothing_to_do_with_tools_is_seen_at_a_glance() -> None:
    for kind in KNOWN_TYPES:
        data = {"content": "x", "tool_call_id": "a", "name": "f"}
        assert may_hold_calls_or_results(Record(kind, data)) == bool(results_of(Record(kind, data)))
    for message in [*ANSWERED, *ALLOWED, *RESULTS]:
        assert may_hold_calls_or_results(record(message))


@pytest.mark.parametrize("data", HOSTILE, ids=repr)
def test_what_is_hostile_is_no_call_and_no_result(data: dict[str, Any]) -> None:
    for kind in KNOWN_TYPES:
        records = [Record(kind, data), Record("human", {"content": "q"}), Record(kind, data)]
        assert normalize(records, allow_pending=False).entries
        assert calls_of(records[0]) == []
