"""The tool calls and results that a record holds, in every form that LangChain and its provider packages use.

This is the only place in Python that knows these forms; the doctor and windows use it. `scripts/include/calls.lua`
repeats it for trimming, and a test compares the two.

| a call | its result |
|---|---|
| `tool_calls`, `invalid_tool_calls`, `tool_call_chunks` of an AI record | a tool record with its id |
| `additional_kwargs.tool_calls`, OpenAI's form, where there are none of those | the same |
| a content block of an AI record (`CALL_BLOCKS`) | the same, or a content block of a human record (`RESULT_BLOCKS`) |
| `additional_kwargs.function_call`, OpenAI's oldest form, which has no id | a function record of that name |

Calls and results of a provider's own server tools (`server_tool_call` and `server_tool_result`, `server_tool_use`,
`web_search_tool_result`, `mcp_tool_use`, `code_interpreter_call`, …) are complete within the AI record and count as
neither.

https://docs.langchain.com/oss/python/langchain/messages
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from chatstash.history.records.message_types import AI_TYPES, FUNCTION_TYPES, HUMAN_TYPES, TOOL_TYPES
from chatstash.history.records.record import Record

STAND_IN = "stand_in"
"""The top-level field that marks a result chatstash inserted because none was recorded."""

NO_RESULT = "No result of this tool call was recorded."
"""The text of such a result."""

Fields: TypeAlias = Mapping[str, Any]

CALL_BLOCKS: Mapping[str, tuple[str, ...]] = {
    "tool_use": ("id",),
    "tool_call": ("id",),
    "invalid_tool_call": ("id",),
    "function_call": ("call_id", "id"),
    "functionCall": ("id",),
    "custom_tool_call": ("call_id",),
}
"""The types of content blocks that require a result, and the fields that may hold their id."""

OPTIONAL_CALL_BLOCKS: Mapping[str, tuple[str, ...]] = {
    "tool_call_chunk": ("id",),
    "mcp_approval_request": ("id",),
    "computer_call": ("call_id",),
    "local_shell_call": ("call_id", "id"),
    "shell_call": ("call_id",),
    "apply_patch_call": ("call_id",),
    "tool_search_call": ("call_id",),  # without this field, the provider runs it itself
}
"""Call blocks whose result is optional: only the provider could make a placeholder for it."""

_CUSTOM_CALL = "custom_tool_call"

RESULT_BLOCKS: Mapping[str, tuple[str, ...]] = {
    "tool_result": ("tool_use_id", "toolUseId"),
    "function_call_output": ("call_id",),
    "custom_tool_call_output": ("call_id",),
    "computer_call_output": ("call_id",),
    "local_shell_call_output": ("call_id", "id"),
    "shell_call_output": ("call_id",),
    "apply_patch_call_output": ("call_id",),
    "tool_search_output": ("call_id",),
    "mcp_approval_response": ("approval_request_id",),
}
"""The types of content blocks that are results, and the fields that may hold the id of their call."""

BEDROCK_CALL, BEDROCK_RESULT = "toolUse", "toolResult"
"""Bedrock's blocks have no type: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html"""


class CallKey(NamedTuple):
    """How a result refers to its call: by the call's id, or in the oldest form by the function's name."""

    id: str
    is_function: bool = False


class Call(NamedTuple):
    """One tool call of an AI record.

    Attributes:
        key: How its result refers to it; unique within the record.
        name: The tool's name; None if unknown.
        requires_result: Whether providers reject the call without a result, and a text can stand in for it. If False, a
            result is optional.
        is_custom: Whether it calls one of OpenAI's custom tools, whose results have another form.
    """

    key: CallKey
    name: str | None
    requires_result: bool
    is_custom: bool = False


class Result(NamedTuple):
    """One result of a tool call.

    Attributes:
        key: Its call; None where it names none.
        block: The index of its content block; None where the whole record is the result.
    """

    key: CallKey | None
    block: int | None = None


def may_hold_calls_or_results(record: Record) -> bool:
    """Tell quickly whether a record may hold calls or results; True when in doubt."""
    if record.type in AI_TYPES:
        data = record.data
        return bool(
            data.get("tool_calls")
            or data.get("invalid_tool_calls")
            or data.get("tool_call_chunks")
            or data.get("additional_kwargs")
            or type(data.get("content")) is list
        )
    return record.type in TOOL_TYPES or record.type in FUNCTION_TYPES or type(record.data.get("content")) is list


def calls_of(record: Record) -> list[Call]:
    """Return the tool calls of a record, each once."""
    if record.type not in AI_TYPES:
        return []
    calls: dict[CallKey, Call] = {}
    for call in [*_calls(record.data), *_block_calls(record.data), *_optional_calls(record.data)]:
        calls.setdefault(call.key, call)
        if call.is_custom:
            calls[call.key] = calls[call.key]._replace(is_custom=True)
    # A provider may have answered its own call in the same record.
    for result in _block_results(record.data):
        if result.key is not None:
            calls.pop(result.key, None)
    return list(calls.values())


def results_of(record: Record) -> list[Result]:
    """Return the results in a record."""
    if record.type in TOOL_TYPES:
        return _tool_results(record.data)
    if record.type in FUNCTION_TYPES:
        name = record.data.get("name")
        return [Result(CallKey(name, is_function=True) if isinstance(name, str) else None)]
    return _block_results(record.data) if record.type in HUMAN_TYPES else []


def is_only_results(record: Record) -> bool:
    """Tell whether a record holds only results, and no text of a person."""
    if record.type not in HUMAN_TYPES:
        return bool(results_of(record))
    found = _block_results(record.data)
    return bool(found) and len(found) == len(record.data["content"])


def _calls(data: Fields) -> Iterable[Call]:
    """Return the calls that LangChain sends to providers, those with invalid arguments included.

    Old libraries stored calls in `additional_kwargs` only.
    """
    present = [*dicts_in(data.get("tool_calls")), *dicts_in(data.get("invalid_tool_calls"))]
    if present:
        return map(call_of, present)
    if chunks := dicts_in(data.get("tool_call_chunks")):
        return map(call_of, chunks)
    return [call_of({**call["function"], "id": call.get("id")}) for call in _old_calls(data) if _is_function(call)]


def _is_function(call: Fields) -> bool:
    function = call.get("function")
    return isinstance(function, dict) and "name" in function and isinstance(function.get("arguments"), str)


def call_of(fields: Fields) -> Call:
    """Return the call that a call's fields in LangChain's form stand for."""
    # No result can refer to a call without an id; libraries then write an empty id.
    call_id = id_of(fields.get("id")) or ""
    return Call(CallKey(call_id), _name(fields.get("name")), requires_result=bool(call_id))


def _block_calls(data: Fields) -> Iterator[Call]:
    for block in map(_unwrapped, dicts_in(data.get("content"))):
        if (call_id := _call_id(block)) is not None:
            is_custom = block.get("type") == _CUSTOM_CALL
            yield Call(CallKey(call_id), _name(_named(block)), requires_result=bool(call_id), is_custom=is_custom)


def _call_id(block: Fields) -> str | None:
    return _first_id(block, CALL_BLOCKS, BEDROCK_CALL)


def block_call_key(block: Fields) -> CallKey | None:
    """Return the key of the call in a content block, whether or not it requires a result; None where it is no call."""
    block = _unwrapped(block)
    call_id = _call_id(block)
    return _key(_first_id(block, OPTIONAL_CALL_BLOCKS) if call_id is None else call_id)


def _named(block: Fields) -> Any:
    return _inner(block, BEDROCK_CALL).get("name") if BEDROCK_CALL in block else block.get("name")


def _optional_calls(data: Fields) -> Iterator[Call]:
    """Yield the calls that may have a result and do not require one."""
    for call in _old_calls(data):
        if (call_id := id_of(call.get("id"))) is not None:
            yield Call(CallKey(call_id), None, requires_result=False)
    for block in map(_unwrapped, dicts_in(data.get("content"))):
        if (call_id := _first_id(block, OPTIONAL_CALL_BLOCKS)) is not None:
            yield Call(CallKey(call_id), None, requires_result=False)
    function = extra_of(data).get("function_call")
    if isinstance(function, dict) and isinstance(name := function.get("name"), str):
        yield Call(CallKey(name, is_function=True), name, requires_result=False)


def _tool_results(data: Fields) -> list[Result]:
    """Return the result of a tool record, and those among its content blocks that name another call."""
    own = Result(_key(id_of(data.get("tool_call_id"))))
    return [own, *(result for result in _block_results(data) if result.key != own.key)]


def _block_results(data: Fields) -> list[Result]:
    content = data.get("content")
    if type(content) is not list:
        return []
    found = []
    for place, block in enumerate(content):
        if isinstance(block, dict) and (call_id := _result_id(_unwrapped(block))) is not None:
            found.append(Result(CallKey(call_id), place))
    return found


def _result_id(block: Fields) -> str | None:
    return _first_id(block, RESULT_BLOCKS, BEDROCK_RESULT)


def _first_id(block: Fields, table: Mapping[str, tuple[str, ...]], bedrock: str | None = None) -> str | None:
    kind = block.get("type")
    if kind is None and bedrock is not None and bedrock in block:
        return id_of(_inner(block, bedrock).get("toolUseId"))
    names = table.get(kind, ()) if isinstance(kind, str) else ()
    return next((found for name in names if (found := id_of(block.get(name))) is not None), None)


def _inner(block: Fields, name: str) -> Fields:
    inner = block[name]
    return inner if isinstance(inner, dict) else {}


def _unwrapped(block: Fields) -> Fields:
    """Return the block inside a `non_standard` block of LangChain's v1 format."""
    value = block.get("value")
    return value if block.get("type") == "non_standard" and isinstance(value, dict) else block


def _old_calls(data: Fields) -> list[Fields]:
    return dicts_in(extra_of(data).get("tool_calls"))


def extra_of(data: Fields) -> Fields:
    """Return a message's `additional_kwargs`."""
    extra = data.get("additional_kwargs")
    return extra if isinstance(extra, dict) else {}


def dicts_in(value: Any) -> list[Fields]:
    """Return the dicts in a value, if it is a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def id_of(value: Any) -> str | None:
    """Return a call's id as LangChain reads it, numbers as text; None where it is no id."""
    is_id = isinstance(value, (str, int, float)) and not isinstance(value, bool)
    return str(value) if is_id else None


def _key(call_id: str | None) -> CallKey | None:
    return None if call_id is None else CallKey(call_id)


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
