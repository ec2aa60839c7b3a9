"""A conversation as a Markdown transcript. Pure.

Stored text is hostile: it may hold headings, fences that are never closed, or HTML that would hide what follows. So
texts are block quotes, and their code blocks are fenced anew, with a fence that their content does not have. HTML in a
text is escaped. What is outside of quotes and fences was written here.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from chatstash.errors import CorruptRecord
from chatstash.history.records.record import Record
from chatstash.langchain.messages import to_message
from chatstash.transfer.messages import checked_items

_ROLES: Mapping[type[BaseMessage], str] = {
    HumanMessage: "User",
    AIMessage: "Assistant",
    SystemMessage: "System",
    ToolMessage: "Tool",
    FunctionMessage: "Function",
}
_TEXT_BLOCKS = frozenset({"text", "input_text", "output_text"})
_CALL_BLOCKS = frozenset({"tool_use", "tool_call", "function_call", "input_json_delta"})
_MEDIA_BLOCKS = frozenset({"image_url", "image", "input_image", "audio", "input_audio", "video", "file", "media"})
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_LINE_END = re.compile(r"\r\n?")
# CommonMark: the info string after backticks has none; after tildes it may have any.
_FENCE = re.compile(r" {0,3}(?:(`{3,})([^`]*)|(~{3,})(.*))")
_LANGUAGE = re.compile(r"[A-Za-z0-9+#._-]{1,30}")
_HTML = re.compile(r"<(?=[A-Za-z/!?])")


def to_markdown(messages: Iterable[BaseMessage | Record], *, title: str | None = None) -> str:
    """Return a readable transcript: a heading with role and time for each message, tool calls and results in fences.

    For people: it cannot be imported. Stored text cannot break out of its quote or fence, and its HTML is escaped.

    Args:
        messages: LangChain messages, or records, which also tell times (UTC). A record that LangChain cannot read is
            shown as JSON.
        title: A heading for the transcript, or None.

    Raises:
        ValueError: Something else is among them.
    """
    heading = [] if title is None else [f"# {_escaped(' '.join(_clean(title).split()))}"]
    sections = [section for item in checked_items(messages) for section in _sections(item)]
    return "\n\n".join([*heading, *sections]) + "\n"


def _sections(item: BaseMessage | Record) -> Iterator[str]:
    message: BaseMessage | Record = item
    if isinstance(item, Record):
        try:
            message = to_message(item)
        except CorruptRecord:
            yield _heading(_code(item.type), item.time)
            yield _json(item.to_dict())
            return
    assert isinstance(message, BaseMessage)
    yield _heading(_role(message), item.time if isinstance(item, Record) else None)
    yield from _content(message)
    if isinstance(message, AIMessage):
        yield from _calls(message)


def _heading(role: str, time: dt.datetime | None) -> str:
    return f"## {role}" if time is None else f"## {role} · {time:%Y-%m-%d %H:%M:%S} UTC"


def _role(message: BaseMessage) -> str:
    if isinstance(message, ChatMessage):
        return _code(message.role)
    role = next((name for kind, name in _ROLES.items() if isinstance(message, kind)), None) or _code(message.type)
    named = f"{role} {_code(message.name)}" if message.name else role
    return f"{named} ({_code(message.tool_call_id)})" if isinstance(message, ToolMessage) else named


def _content(message: BaseMessage) -> Iterator[str]:
    is_result = isinstance(message, (ToolMessage, FunctionMessage))
    blocks = [message.content] if isinstance(message.content, str) else message.content
    for block in blocks:
        fields: Mapping[str, Any] = {"type": "text", "text": block} if isinstance(block, str) else block
        kind, text = fields.get("type"), fields.get("text")
        if kind in _TEXT_BLOCKS and isinstance(text, str):
            if text.strip():
                yield _fenced(text, "text") if is_result else _quoted(text)
        elif kind in _MEDIA_BLOCKS:
            yield _code(f"[{kind}: {address}]" if (address := _address(fields)) else f"[{kind}]")
        elif not (kind in _CALL_BLOCKS and isinstance(message, AIMessage) and message.tool_calls):
            yield _json(fields)


def _address(block: Mapping[str, Any]) -> str | None:
    """Return the web address of an image or a file; None if the block holds its data."""
    for value in (block.get("image_url"), block.get("url"), block.get("source"), block.get("file_id")):
        found = value.get("url") if isinstance(value, dict) else value
        if isinstance(found, str) and not found.startswith("data:"):
            return found
    return None


def _calls(message: AIMessage) -> Iterator[str]:
    for call in message.tool_calls:
        yield f"Calls {_code(call['name'])} ({_code(call['id'] or 'no id')}):"
        yield _json(call["args"])
    for invalid in message.invalid_tool_calls:
        yield f"Calls {_code(invalid['name'] or 'no name')} ({_code(invalid['id'] or 'no id')}) with invalid arguments:"
        yield _fenced(invalid["args"] or "", "text")


def _quoted(text: str) -> str:
    """Return a text as a block quote."""
    lines = "\n\n".join(_parts(_clean(text))).split("\n")
    return "\n".join(f"> {line}" if line else ">" for line in lines)


def _parts(text: str) -> Iterator[str]:
    """Yield a text with its code blocks fenced anew, and its HTML escaped elsewhere."""
    prose: list[str] = []
    lines = iter(text.split("\n"))
    for line in lines:
        if (opening := _FENCE.fullmatch(line)) is None:
            prose.append(_escaped(line))
            continue
        yield from _joined(prose)
        prose.clear()
        yield _code_block(opening, lines)
    yield from _joined(prose)


def _joined(lines: Sequence[str]) -> Iterator[str]:
    if text := "\n".join(lines).strip("\n"):
        yield text


def _code_block(opening: re.Match[str], lines: Iterator[str]) -> str:
    """Return the code block that a line opens, which ends as CommonMark says, at the latest with the text."""
    fence, info = opening[1] or opening[3], opening[2] or opening[4] or ""
    closing = re.compile(rf" {{0,3}}{re.escape(fence)}{re.escape(fence[0])}*[ \t]*")
    code = takewhile(lambda line: not closing.fullmatch(line), lines)
    language = _LANGUAGE.match(info.strip())
    return _fenced("\n".join(code), language[0] if language else "")


def _escaped(text: str) -> str:
    return _HTML.sub("&lt;", text)


def _fenced(text: str, language: str) -> str:
    """Return a text in a fence that is longer than any run of backticks in it."""
    text = _clean(text)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def _json(value: Any) -> str:
    try:
        return _fenced(json.dumps(value, ensure_ascii=False, indent=2, default=str), "json")
    except (RecursionError, TypeError, ValueError):
        return _fenced(reprlib.repr(value), "text")


def _code(text: object) -> str:
    """Return a text in one line as a code span."""
    line = " ".join(_clean(str(text)).split()).replace("`", "'")
    return f"`{line or ' '}`"


def _clean(text: str) -> str:
    """Return a text without control characters, its lines ending as in Unix."""
    text = text.encode("utf-8", "replace").decode()
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", _LINE_END.sub("\n", text))
