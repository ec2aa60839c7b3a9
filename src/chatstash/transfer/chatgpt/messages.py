"""The messages of a branch as LangChain's. Pure.

A message of the assistant to a tool is a tool call, and the tool messages that follow are its result, in one message:
models accept a call only with exactly one result. What cannot be represented is noted with its reason.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from chatstash.transfer.chatgpt.content import Content, NoText, content_of
from chatstash.transfer.chatgpt.tree import Node

_LAST_MS = 2**48
_TO_THE_USER = frozenset({"", "all", "user", "assistant"})
_MOST_NAME = 64
_OTHER_CHARACTERS = re.compile(r"[^A-Za-z0-9_-]")


class TimedMessage(NamedTuple):
    """A message.

    Attributes:
        message: The message; its id is ChatGPT's.
        time_ms: When it was written, in milliseconds since the epoch; None if the export does not tell.
        node_id: The node that it comes from.
    """

    message: BaseMessage
    time_ms: int | None
    node_id: str


class Note(NamedTuple):
    """Something that could not be represented."""

    node_id: str
    reason: str


def milliseconds(time: object) -> int | None:
    """Return a time of an export in milliseconds since the epoch; None if it is not one."""
    if not isinstance(time, (int, float)) or isinstance(time, bool) or not math.isfinite(time):
        return None
    return found if 0 < (found := round(time * 1000)) < _LAST_MS else None


class Conversion:
    """Converts the messages of a branch.

    Attributes:
        messages: The messages, oldest first.
        notes: What could not be represented.
    """

    def __init__(self, nodes: Sequence[Node], model: str | None) -> None:
        self.messages: list[TimedMessage] = []
        self.notes: list[Note] = []
        self._model = model
        shown = [node for node in nodes if self._is_shown(node)]
        while shown:
            shown = shown[self._convert_first(shown) :]

    def _is_shown(self, node: Node) -> bool:
        message = node.message
        if _fields(message, "metadata").get("is_visually_hidden_from_conversation") or message.get("weight") == 0:
            return self._skip(node, "it is hidden from the conversation")
        if message.get("channel") == "analysis":
            return self._skip(node, "it is reasoning")
        return True

    def _skip(self, node: Node, reason: str) -> bool:
        self.notes.append(Note(node.id, reason))
        return False

    def _convert_first(self, nodes: Sequence[Node]) -> int:
        """Convert the first message, with those that belong to it; returns how many that were."""
        node, role = nodes[0], _role(nodes[0])
        if role == "assistant" and _tool_of(node) is not None:
            results = _results_after(nodes)
            self._add_call(node, results)
            return 1 + len(results)
        if role == "tool":
            self._skip(node, "it is the result of a tool without its call")
        elif role not in _KINDS:
            self._skip(node, f"its author is {str(role)!r:.60}")
        elif (content := self._content(node)) is not None:
            self._add(node, _KINDS[role](content.text, id=_id(node)))
        return 1

    def _content(self, node: Node) -> Content | None:
        content = content_of(node.message)
        if isinstance(content, NoText):
            self._skip(node, content.reason)
            return None
        for reason in content.left_out:
            self._skip(node, reason)
        return content

    def _add(self, node: Node, message: BaseMessage) -> None:
        if isinstance(message, AIMessage):
            slug = _fields(node.message, "metadata").get("model_slug") or self._model
            message.response_metadata = {"model_name": slug} if isinstance(slug, str) else {}
            message.content = _code(node, str(message.content))
        self.messages.append(TimedMessage(message, milliseconds(node.message.get("create_time")), node.id))

    def _add_call(self, node: Node, results: Sequence[Node]) -> None:
        call, told = self._content(node), [(each, self._content(each)) for each in results]
        found = [(each, content.text) for each, content in told if content is not None]
        if call is None:
            for each, _ in found:
                self._skip(each, "it is the result of a tool without its call")
        elif not found:
            self._skip(node, "it is a call of a tool without a result")
        else:
            self._add_pair(node, call.text, found)

    def _add_pair(self, node: Node, arguments: str, results: Sequence[tuple[Node, str]]) -> None:
        name, call_id = _name(_tool_of(node)), _id(node) or node.id
        called = AIMessage("", id=_id(node), tool_calls=[{"name": name, "args": _arguments(arguments), "id": call_id}])
        self._add(node, called)
        first = results[0][0]
        is_error = any(_fields(each.message, "content").get("content_type") == "system_error" for each, _ in results)
        text = "\n\n".join(text for _, text in results)
        status = "error" if is_error else "success"
        self._add(first, ToolMessage(text, tool_call_id=call_id, name=name, id=_id(first), status=status))


_KINDS: Mapping[Any, type[BaseMessage]] = {"user": HumanMessage, "assistant": AIMessage, "system": SystemMessage}


def _fields(message: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = message.get(name)
    return found if isinstance(found, dict) else {}


def _role(node: Node) -> object:
    role = _fields(node.message, "author").get("role")
    return role if isinstance(role, str) else None


def _tool_of(node: Node) -> str | None:
    """Return the tool that a message is sent to; None for one to the user."""
    recipient = node.message.get("recipient")
    return recipient if isinstance(recipient, str) and recipient not in _TO_THE_USER else None


def _results_after(nodes: Sequence[Node]) -> list[Node]:
    count = next((at for at, node in enumerate(nodes[1:]) if _role(node) != "tool"), len(nodes) - 1)
    return list(nodes[1 : 1 + count])


def _id(node: Node) -> str | None:
    found = node.message.get("id")
    return found if isinstance(found, str) and found else None


def _name(tool: str | None) -> str:
    """Return the name of a tool with the characters that providers accept."""
    return _OTHER_CHARACTERS.sub("_", tool or "")[:_MOST_NAME]


def _arguments(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {"input": text}


def _code(node: Node, text: str) -> str:
    """Return the text of an answer; code in a fence."""
    content = _fields(node.message, "content")
    if content.get("content_type") != "code" or not text:
        return text
    language = content.get("language")
    named = language if isinstance(language, str) and language.isalnum() and language != "unknown" else ""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{named}\n{text}\n{fence}"
