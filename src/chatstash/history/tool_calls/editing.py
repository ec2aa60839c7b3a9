"""Records with other tool calls, results or content blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from chatstash.history.records.record import Record
from chatstash.history.tool_calls.formats import (
    NO_RESULT,
    STAND_IN,
    Call,
    CallKey,
    Fields,
    block_call_key,
    call_of,
    calls_of,
    dicts_in,
    extra_of,
    id_of,
)


def stand_in(call: Call) -> Record:
    """Return a placeholder result for a call, in the form its provider expects."""
    if call.key.is_function:
        return Record("function", {"content": NO_RESULT, "name": call.key.id}, other={STAND_IN: True})
    content = [{"type": "custom_tool_call_output", "output": NO_RESULT}] if call.is_custom else NO_RESULT
    data = {"content": content, "tool_call_id": call.key.id, "status": "error"}
    if call.name is not None:
        data["name"] = call.name
    return Record("tool", data, other={STAND_IN: True})


def without_blocks(record: Record, indices: Iterable[int]) -> Record:
    """Return a record without the content blocks at some indices."""
    removed = set(indices)
    return with_content(record, [block for index, block in enumerate(record.data["content"]) if index not in removed])


def with_content(record: Record, content: list[Any]) -> Record:
    """Return a record with other content blocks."""
    return replace(record, data={**record.data, "content": content})


def is_empty(record: Record) -> bool:
    """Tell whether a record has neither content nor calls."""
    return not record.data.get("content") and not calls_of(record)


def without_calls(record: Record, keys: Iterable[CallKey]) -> Record:
    """Return an AI record without some of its calls; its other content stays."""
    removed = set(keys)
    data = {**record.data}
    for name in ("tool_calls", "invalid_tool_calls", "tool_call_chunks"):
        if data.get(name):
            data[name] = _kept(data[name], lambda call: call_of(call).key in removed)
    if type(data.get("content")) is list:
        data["content"] = _kept(data["content"], lambda block: block_call_key(block) in removed)
    if extra := extra_of(data):
        data["additional_kwargs"] = _without_old_calls(extra, removed)
    return replace(record, data=data)


def _without_old_calls(extra: Fields, removed: set[CallKey]) -> Fields:
    kept = {**extra}
    if dicts_in(extra.get("tool_calls")):
        kept["tool_calls"] = _kept(extra["tool_calls"], lambda call: CallKey(id_of(call.get("id")) or "") in removed)
        if not kept["tool_calls"]:
            del kept["tool_calls"]
    function = extra.get("function_call")
    if isinstance(function, dict) and CallKey(str(function.get("name")), is_function=True) in removed:
        del kept["function_call"]
    return kept


def _kept(items: list[Any], is_removed: Callable[[Fields], bool]) -> list[Any]:
    return [item for item in items if not (isinstance(item, dict) and is_removed(item))]
