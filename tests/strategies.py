"""Messages for tests: one of every kind, and hypothesis strategies for any."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    ChatMessageChunk,
    FunctionMessage,
    FunctionMessageChunk,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
    ToolMessageChunk,
)
from pydantic import ValidationError

_IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
_TEXT = {"type": "text", "text": "What is in this picture? 🖼", "cache_control": {"type": "ephemeral"}}
_USAGE: Any = {
    "input_tokens": 10,
    "output_tokens": 5,
    "total_tokens": 15,
    "input_token_details": {"cache_read": 3},
    "output_token_details": {"reasoning": 2},
}
_CALL: Any = {"name": "search", "args": {"query": "naïve", "limit": 3, "deep": {"a": [1, None]}}, "id": "call_1"}
_OPENAI_CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
_PART_OF_A_CALL: Any = {"name": "f", "args": '{"a"', "id": "c", "index": 0, "type": "tool_call_chunk"}
_BAD_CALL: Any = {"name": "search", "args": "{not json", "id": "call_2", "error": "could not parse"}

EVERY_KIND: list[BaseMessage] = [
    HumanMessage("Hello", id="h1", name="ada"),
    HumanMessage([_TEXT, _IMAGE, "plain"], additional_kwargs={"locale": "de"}, custom_field={"a": [1, 2.5]}),
    AIMessage(
        "",
        id="a1",
        tool_calls=[_CALL],
        invalid_tool_calls=[_BAD_CALL],
        usage_metadata=_USAGE,
        response_metadata={"model_name": "m-1", "finish_reason": "tool_calls", "logprobs": None},
        additional_kwargs={"refusal": None},
    ),
    AIMessage([{"type": "text", "text": "Yes"}, {"type": "tool_use", "id": "t1", "name": "f", "input": {}}]),
    AIMessage("", additional_kwargs={"tool_calls": [_OPENAI_CALL]}),
    SystemMessage("You are terse.", id="s1"),
    ToolMessage("42", tool_call_id="call_1", name="search", id="t1", artifact={"rows": [1, 2]}, status="error"),
    ToolMessage([_TEXT, _IMAGE], tool_call_id="call_2"),
    FunctionMessage("7", name="add", id="f1"),
    ChatMessage("Hm", role="moderator", id="c1"),
    RemoveMessage(id="h1"),
    AIMessageChunk("par", id="k1", tool_call_chunks=[_PART_OF_A_CALL]),
    HumanMessageChunk("par", id="k2"),
    SystemMessageChunk("par"),
    ToolMessageChunk("par", tool_call_id="c"),
    FunctionMessageChunk("par", name="f"),
    ChatMessageChunk("par", role="r"),
]  # fmt: skip

_KEYS = st.text(max_size=8)
_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats()
    | st.text(alphabet=st.characters(), max_size=20)
    | st.text(alphabet=st.characters(categories=["Cs", "Ll"]), max_size=4)
    | st.sampled_from(["", "success", "error", "human", "ai"])
)
JSON_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3), max_leaves=8
)
_OBJECTS = st.dictionaries(_KEYS, JSON_VALUES, max_size=3)
_TEXTS = st.text(max_size=40)
_CONTENT = _TEXTS | st.lists(_TEXTS | _OBJECTS, max_size=3)
_EXTRA_NAMES = st.sampled_from(["custom", "artifact", "status", "tool_calls_raw", "role2", "example", "rid", "v"])
_COMMON: dict[str, st.SearchStrategy[Any]] = {
    "content": _CONTENT,
    "additional_kwargs": _OBJECTS,
    "response_metadata": _OBJECTS,
    "name": st.none() | _TEXTS,
    "id": st.none() | _TEXTS,
}
_CALLS = st.lists(
    st.fixed_dictionaries({"name": _TEXTS, "args": _OBJECTS, "id": st.none() | _TEXTS, "type": st.just("tool_call")}),
    max_size=2,
)
_BAD_CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.none() | _TEXTS,
            "args": st.none() | _TEXTS,
            "id": st.none() | _TEXTS,
            "error": st.none() | _TEXTS,
            "type": st.just("invalid_tool_call"),
        }
    ),
    max_size=2,
)
_COUNTS = st.integers(0, 2**40)
_USAGES = st.none() | st.fixed_dictionaries(
    {"input_tokens": _COUNTS, "output_tokens": _COUNTS, "total_tokens": _COUNTS}
)
_AI = {"tool_calls": _CALLS, "invalid_tool_calls": _BAD_CALLS, "usage_metadata": _USAGES}
_TOOL = {"tool_call_id": _TEXTS, "artifact": JSON_VALUES, "status": st.sampled_from(["success", "error"])}
_KINDS: dict[type[BaseMessage], dict[str, st.SearchStrategy[Any]]] = {
    HumanMessage: {},
    AIMessage: _AI,
    SystemMessage: {},
    ToolMessage: _TOOL,
    FunctionMessage: {"name": _TEXTS},
    ChatMessage: {"role": _TEXTS},
    HumanMessageChunk: {},
    AIMessageChunk: _AI,
    ToolMessageChunk: _TOOL,
    ChatMessageChunk: {"role": _TEXTS},
}


@st.composite
def message(draw: st.DrawFn) -> BaseMessage:
    kind = draw(st.sampled_from(list(_KINDS)))
    chosen = {**_COMMON, **_KINDS[kind]}
    required = {"content", "tool_call_id", "role"} | ({"name"} if kind is FunctionMessage else set())
    fields = {name: draw(values) for name, values in chosen.items() if name in required or draw(st.booleans())}
    if draw(st.booleans()):
        fields.setdefault(draw(_EXTRA_NAMES), draw(JSON_VALUES))
    try:
        return kind(**fields)
    except (ValidationError, ValueError, TypeError, AttributeError):
        return HumanMessage("what LangChain itself refuses is not stored")


def messages() -> st.SearchStrategy[list[BaseMessage]]:
    return st.lists(message(), max_size=4)


def equal(left: Any, right: Any) -> bool:
    """Tell whether messages are equal to the last field and type; NaN is equal to itself here, 1 is not to 1.0."""
    return _same(_plain(left), _plain(right))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseMessage):
        return [type(value), _plain(value.model_dump())]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _same(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, float) and math.isnan(left):
        return math.isnan(right)
    return bool(left == right)
