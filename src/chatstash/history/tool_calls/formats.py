"""The tool calls and results that a record holds, in every form that LangChain and its provider packages use. Pure.

This is the only place that knows these forms; the doctor and windows both go by it, and `retention` takes its tables.

| a call | its result |
|---|---|
| `tool_calls`, `invalid_tool_calls`, `tool_call_chunks` of an AI record | a tool record with its id |
| `additional_kwargs.tool_calls`, OpenAI's form, where there are none of those | the same |
| a content block of an AI record (`CALL_BLOCKS`) | the same, or a content block of a human record (`RESULT_BLOCKS`) |
| `additional_kwargs.function_call`, OpenAI's oldest form, which has no id | a function record of that name |

What a provider's own server calls and answers (`server_tool_call` and `server_tool_result`, `server_tool_use`,
`web_search_tool_result`, `mcp_tool_use`, `code_interpreter_call`, …) is complete within the AI record, and is neither.

https://docs.langchain.com/oss/python/langchain/messages
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

from chatstash.history.records.message_types import AI_TYPES, FUNCTION_TYPES, HUMAN_TYPES, TOOL_TYPES
from chatstash.history.records.record import Record

STAND_IN = "stand_in"
"""The top-level field that marks a result which chatstash wrote because none was recorded."""

NO_RESULT = "No result of this tool call was recorded."
"""What such a result says."""

Fields: TypeAlias = Mapping[str, Any]

CALL_BLOCKS: Mapping[str, tuple[str, ...]] = {
    "tool_use": ("id",),
    "tool_call": ("id",),
    "invalid_tool_call": ("id",),
    "function_call": ("call_id", "id"),
    "functionCall": ("id",),
    "custom_tool_call": ("call_id",),
}
"""The types of content blocks that ask for a result, and where their id is."""

MENTIONING_BLOCKS: Mapping[str, tuple[str, ...]] = {
    "tool_call_chunk": ("id",),
    "mcp_approval_request": ("id",),
    "computer_call": ("call_id",),
    "local_shell_call": ("call_id", "id"),
    "shell_call": ("call_id",),
    "apply_patch_call": ("call_id",),
}
"""Those that may have a result, where nobody but the provider knows what could stand in for one."""

_CUSTOM_CALL = "custom_tool_call"

RESULT_BLOCKS: Mapping[str, tuple[str, ...]] = {
    "tool_result": ("tool_use_id", "toolUseId"),
    "function_call_output": ("call_id",),
    "custom_tool_call_output": ("call_id",),
    "computer_call_output": ("call_id",),
    "local_shell_call_output": ("call_id", "id"),
    "shell_call_output": ("call_id",),
    "apply_patch_call_output": ("call_id",),
    "mcp_approval_response": ("approval_request_id",),
}
"""The types of content blocks that are results, and where the id of their call is."""

BEDROCK_CALL, BEDROCK_RESULT = "toolUse", "toolResult"
"""Bedrock's blocks have no type: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html"""


class CallKey(NamedTuple):
    """What a result names: the id of a call, or the name of the function in the oldest form."""

    id: str
    is_function: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call of an AI record.

    Attributes:
        key: What its result names; unique within the record.
        name: The tool's name, or None where it is not known.
        wants_result: Whether a model's provider would miss the result, and a text can stand in for it. Where False, a
            result is only allowed.
        is_custom: Whether it is one of OpenAI's custom tools, whose results have a form of their own.
    """

    key: CallKey
    name: str | None
    wants_result: bool
    is_custom: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """One result of a tool call.

    Attributes:
        key: What it names; None where it names nothing.
        block: The index of the content block that it is; None where it is the whole record.
    """

    key: CallKey | None
    block: int | None = None


def may_hold_calls_or_results(record: Record) -> bool:
    """Tell at a glance whether a record has anything to do with tools; True where it is not sure."""
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
    for call in [*_calls(record.data), *_block_calls(record.data), *_mentions(record.data)]:
        calls.setdefault(call.key, call)
        if call.is_custom:
            calls[call.key] = replace(calls[call.key], is_custom=True)
    # A provider may have answered its own call within the record.
    for result in _block_results(record.data):
        if result.key is not None:
            calls.pop(result.key, None)
    return list(calls.values())


def results_of(record: Record) -> list[Result]:
    """Return the results that a record is or holds."""
    if record.type in TOOL_TYPES:
        return _tool_results(record.data)
    if record.type in FUNCTION_TYPES:
        name = record.data.get("name")
        return [Result(CallKey(name, is_function=True) if isinstance(name, str) else None)]
    return _block_results(record.data) if record.type in HUMAN_TYPES else []


def is_only_results(record: Record) -> bool:
    """Tell whether a record is nothing but results: no text of a person beside them."""
    if record.type not in HUMAN_TYPES:
        return bool(results_of(record))
    found = _block_results(record.data)
    return bool(found) and len(found) == len(record.data["content"])


def _calls(data: Fields) -> Iterable[Call]:
    """Return the calls that LangChain itself makes of a record; old libraries kept them in `additional_kwargs` alone.

    Calls whose arguments could not be parsed are sent to providers as well.
    """
    present = [*_dicts(data.get("tool_calls")), *_dicts(data.get("invalid_tool_calls"))]
    if present:
        return map(_call, present)
    if chunks := _dicts(data.get("tool_call_chunks")):
        return map(_call, chunks)
    return [_call({**call["function"], "id": call.get("id")}) for call in _old_calls(data) if _is_function(call)]


def _is_function(call: Fields) -> bool:
    function = call.get("function")
    return isinstance(function, dict) and "name" in function and isinstance(function.get("arguments"), str)


def _call(fields: Fields) -> Call:
    # A call without an id cannot be named by a result; libraries then write an empty id there.
    call_id = _id(fields.get("id")) or ""
    return Call(CallKey(call_id), _name(fields.get("name")), wants_result=bool(call_id))


def _block_calls(data: Fields) -> Iterator[Call]:
    for block in map(_unwrapped, _dicts(data.get("content"))):
        if (call_id := _call_id(block)) is not None:
            is_custom = block.get("type") == _CUSTOM_CALL
            yield Call(CallKey(call_id), _name(_named(block)), wants_result=bool(call_id), is_custom=is_custom)


def _call_id(block: Fields) -> str | None:
    return _first_id(block, CALL_BLOCKS, BEDROCK_CALL)


def _any_call_id(block: Fields) -> str | None:
    found = _call_id(block)
    return _first_id(block, MENTIONING_BLOCKS) if found is None else found


def _named(block: Fields) -> Any:
    return _inner(block, BEDROCK_CALL).get("name") if BEDROCK_CALL in block else block.get("name")


def _mentions(data: Fields) -> Iterator[Call]:
    """Yield what may have a result and wants none."""
    for call in _old_calls(data):
        if (call_id := _id(call.get("id"))) is not None:
            yield Call(CallKey(call_id), None, wants_result=False)
    for block in map(_unwrapped, _dicts(data.get("content"))):
        if (call_id := _first_id(block, MENTIONING_BLOCKS)) is not None:
            yield Call(CallKey(call_id), None, wants_result=False)
    function = _extra(data).get("function_call")
    if isinstance(function, dict) and isinstance(name := function.get("name"), str):
        yield Call(CallKey(name, is_function=True), name, wants_result=False)


def _tool_results(data: Fields) -> list[Result]:
    """Return the result that a tool record is, and those among its content blocks that name another call."""
    own = Result(_key(_id(data.get("tool_call_id"))))
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
        return _id(_inner(block, bedrock).get("toolUseId"))
    names = table.get(kind, ()) if isinstance(kind, str) else ()
    return next((found for name in names if (found := _id(block.get(name))) is not None), None)


def _inner(block: Fields, name: str) -> Fields:
    inner = block[name]
    return inner if isinstance(inner, dict) else {}


def _unwrapped(block: Fields) -> Fields:
    """Return what a block of LangChain's v1 form wraps where it knows no better name for it."""
    value = block.get("value")
    return value if block.get("type") == "non_standard" and isinstance(value, dict) else block


def _old_calls(data: Fields) -> list[Fields]:
    return _dicts(_extra(data).get("tool_calls"))


def _extra(data: Fields) -> Fields:
    extra = data.get("additional_kwargs")
    return extra if isinstance(extra, dict) else {}


def _dicts(value: Any) -> list[Fields]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _id(value: Any) -> str | None:
    # LangChain reads numbers as text.
    known = isinstance(value, (str, int, float)) and not isinstance(value, bool)
    return str(value) if known else None


def _key(call_id: str | None) -> CallKey | None:
    return None if call_id is None else CallKey(call_id)


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def stand_in(call: Call) -> Record:
    """Return the result that says that there is none, in the form in which a call is answered."""
    if call.key.is_function:
        return Record("function", {"content": NO_RESULT, "name": call.key.id}, other={STAND_IN: True})
    content = [{"type": "custom_tool_call_output", "output": NO_RESULT}] if call.is_custom else NO_RESULT
    data = {"content": content, "tool_call_id": call.key.id, "status": "error"}
    if call.name is not None:
        data["name"] = call.name
    return Record("tool", data, other={STAND_IN: True})


def without_blocks(record: Record, gone: Iterable[int]) -> Record:
    """Return a record without some of its content blocks."""
    places = set(gone)
    return with_content(record, [block for place, block in enumerate(record.data["content"]) if place not in places])


def with_content(record: Record, content: list[Any]) -> Record:
    """Return a record with other content blocks."""
    return replace(record, data={**record.data, "content": content})


def is_empty(record: Record) -> bool:
    """Tell whether a record says nothing: neither content nor a call."""
    return not record.data.get("content") and not calls_of(record)


def without_calls(record: Record, keys: Iterable[CallKey]) -> Record:
    """Return an AI record without some of its calls; what it says beside them stays."""
    gone = set(keys)
    data = {**record.data}
    for name in ("tool_calls", "invalid_tool_calls", "tool_call_chunks"):
        if data.get(name):
            data[name] = _kept(data[name], lambda call: _call(call).key in gone)
    if type(data.get("content")) is list:
        data["content"] = _kept(data["content"], lambda block: _key(_any_call_id(_unwrapped(block))) in gone)
    if extra := _extra(data):
        data["additional_kwargs"] = _without_old_calls(extra, gone)
    return replace(record, data=data)


def _without_old_calls(extra: Fields, gone: set[CallKey]) -> Fields:
    kept = {**extra}
    if _dicts(extra.get("tool_calls")):
        kept["tool_calls"] = _kept(extra["tool_calls"], lambda call: CallKey(_id(call.get("id")) or "") in gone)
        if not kept["tool_calls"]:
            del kept["tool_calls"]
    function = extra.get("function_call")
    if isinstance(function, dict) and CallKey(str(function.get("name")), is_function=True) in gone:
        del kept["function_call"]
    return kept


def _kept(items: list[Any], is_gone: Callable[[Fields], bool]) -> list[Any]:
    return [item for item in items if not (isinstance(item, dict) and is_gone(item))]
