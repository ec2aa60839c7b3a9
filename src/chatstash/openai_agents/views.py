"""Items of the Responses API and LangChain's messages, as far as each can express the other. Pure.

| item | message |
|---|---|
| a message of a user | human |
| a message of the system or the developer | system |
| a message of the assistant, its text and refusals | ai |
| function calls | ai, with tool calls |
| the output of a function call | tool |
| any other: reasoning, searches, computer, MCP, code, images, compaction, references | none: kept with its neighbour |

https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from chatstash.history.records.record import Record

Item: TypeAlias = dict[str, Any]

_TYPES = {"user": "human", "system": "system", "developer": "system", "assistant": "ai"}
_ROLES = {"human": "user", "system": "system", "ai": "assistant", "chat": "user"}
_TEXTS = ("input_text", "output_text", "text", "refusal")


def kind_of(item: Item) -> str:
    """Return how an item is seen: `message`, `call`, `output`, or `other`."""
    kind = item.get("type", "message")
    if kind == "message" and item.get("role") in _TYPES:
        return "message"
    return {"function_call": "call", "function_call_output": "output"}.get(kind, "other")


def view_of(items: Sequence[Item]) -> tuple[str, dict[str, Any]]:
    """Return LangChain's type and data of items that are one record."""
    message = next((item for item in items if kind_of(item) == "message"), None)
    calls = [item for item in items if kind_of(item) == "call"]
    output = next((item for item in items if kind_of(item) == "output"), None)
    if output is not None:
        return "tool", {"content": _text_of(output.get("output")), "tool_call_id": str(output.get("call_id", ""))}
    content = "" if message is None else _text_of(message.get("content"))
    if calls:
        return "ai", _with_calls(content, calls)
    kind = "ai" if message is None else _TYPES[message["role"]]
    return kind, {"content": content}


def _with_calls(content: str, calls: Sequence[Item]) -> dict[str, Any]:
    valid, invalid = [], []
    for call in calls:
        name, text, call_id = str(call.get("name", "")), call.get("arguments"), str(call.get("call_id", ""))
        try:
            arguments = json.loads(text or "{}")
        except (ValueError, TypeError):
            arguments = None
        if isinstance(arguments, dict):
            valid.append({"name": name, "args": arguments, "id": call_id, "type": "tool_call"})
        else:
            wrong = {"name": name, "args": str(text), "id": call_id, "error": None, "type": "invalid_tool_call"}
            invalid.append(wrong)
    return {"content": content, "tool_calls": valid, **({"invalid_tool_calls": invalid} if invalid else {})}


def _text_of(content: Any) -> str:
    """Return the text of a content: a string, or a list of parts, of which others than text are left out."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return "" if content is None else json.dumps(content, ensure_ascii=False, default=str)
    return "".join(_text_of_part(part) for part in content)


def _text_of_part(part: Any) -> str:
    if isinstance(part, Mapping) and part.get("type") in _TEXTS:
        return str(part.get("text") or part.get("refusal") or "")
    return part if isinstance(part, str) else ""


def items_of(record: Record) -> list[Item]:
    """Return the items of a record that another library wrote, in the API's shortest form."""
    data = record.data
    text = _text_of(data.get("content"))
    if record.type in ("tool", "function"):
        return [{"type": "function_call_output", "call_id": str(data.get("tool_call_id") or ""), "output": text}]
    role = _ROLES.get(record.type.removesuffix("MessageChunk").lower(), "user")
    calls = [_call_of(call) for call in data.get("tool_calls") or () if isinstance(call, Mapping)]
    message = [{"role": role, "content": text}] if text or not calls else []
    return [*message, *calls]


def _call_of(call: Mapping[str, Any]) -> Item:
    return {
        "type": "function_call",
        "call_id": str(call.get("id") or ""),
        "name": str(call.get("name", "")),
        "arguments": json.dumps(call.get("args") or {}, ensure_ascii=False),
    }
