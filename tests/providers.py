"""What model providers demand of a conversation, checked on what their own LangChain packages would send.

The packages format without a network. The rules are those of the providers' references: a result belongs directly after
its call, once; none is without a call; no call but the last is without its result.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import BaseMessage
from langchain_google_genai.chat_models import _parse_chat_history
from langchain_openai import ChatOpenAI

_OPENAI = ChatOpenAI(model="gpt-4o", api_key="x")
_RESPONSES = ChatOpenAI(model="gpt-4o", api_key="x", use_responses_api=True)
_ANTHROPIC = ChatAnthropic(model_name="claude-sonnet-4-5", api_key="x", max_tokens_to_sample=100, timeout=1, stop=None)


class Refused(AssertionError):
    """A provider would refuse the conversation."""


def _demand(holds: bool, rule: str) -> None:
    if not holds:
        raise Refused(rule)


def openai_takes(messages: Sequence[BaseMessage], *, from_human: bool = False) -> None:
    """https://platform.openai.com/docs/api-reference/chat/create"""
    sent = _OPENAI._get_request_payload(list(messages))["messages"]
    waiting: set[str] = set()
    function = None
    for message in sent:
        role, content = message["role"], message.get("content")
        if role == "tool":
            _demand(message["tool_call_id"] in waiting, "a result is directly after its call, once")
            waiting.remove(message["tool_call_id"])
            continue
        _demand(not waiting, "each call has its result directly after it")
        _demand(role != "function" or message["name"] == function, "a function's result is after its call")
        known = {"text", "image_url", "file", "input_audio", "refusal"}
        _demand(isinstance(content, str) or {block["type"] for block in content or []} <= known, "content is known")
        _demand(bool(content) or role != "assistant" or "tool_calls" in message or "function_call" in message, "empty")
        waiting = {call["id"] for call in message.get("tool_calls", [])}
        function = message.get("function_call", {}).get("name")
    _begins_right([message["role"] for message in sent], {"user"}, from_human=from_human)


def responses_takes(messages: Sequence[BaseMessage], *, from_human: bool = False) -> None:
    """https://platform.openai.com/docs/api-reference/responses/create"""
    sent = _RESPONSES._get_request_payload(list(messages))["input"]
    waiting: dict[str, str] = {}
    for item in sent:
        kind = item.get("type")
        if kind is not None and kind.endswith("_call_output"):
            _demand(waiting.pop(item["call_id"], "") == kind, "an output has its call before it, of its kind")
        elif kind in {"function_call", "custom_tool_call"}:
            _demand(item["call_id"] not in waiting, "a call is there once")
            waiting[item["call_id"]] = f"{kind}_output"
        elif item.get("role") in {"user", "system"}:
            _demand(not waiting, "each call has its output")
    roles = [str(item.get("role") or item["type"]) for item in sent]
    _begins_right(roles, {"user"}, from_human=from_human)


def anthropic_takes(messages: Sequence[BaseMessage], *, from_human: bool = False) -> None:
    """https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/implement-tool-use"""
    with warnings.catch_warnings():
        # A system message in the middle is moved to the beginning, with a warning.
        warnings.simplefilter("error")
        sent = _ANTHROPIC._get_request_payload(list(messages))["messages"]
    waiting: set[str] = set()
    for place, message in enumerate(sent):
        blocks = message["content"] if isinstance(message["content"], list) else []
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if message["role"] == "user":
            first = [block["type"] for block in blocks[: len(results)]]
            _demand(set(first) <= {"tool_result"}, "results are before what else is said")
            in_progress = place == len(sent) - 1 and len(set(results)) == len(results) and set(results) < waiting
            same = sorted(results) == sorted(waiting)
            _demand(same or in_progress, "each call has its result in the next message, once")
        else:
            _demand(not results and not waiting, "each call has its result in the next message")
            _demand(bool(message["content"]) or place == len(sent) - 1, "messages have content")
        _demand(all(block["type"] != "text" or block["text"].strip() for block in blocks), "texts are not empty")
        waiting = {block["id"] for block in blocks if block["type"] == "tool_use"}
    _begins_right([message["role"] for message in sent], {"user"}, from_human=from_human)


def gemini_takes(messages: Sequence[BaseMessage], *, from_human: bool = False) -> None:
    """https://ai.google.dev/gemini-api/docs/function-calling"""
    _, sent = _parse_chat_history(list(messages))
    waiting: list[str] = []
    for place, content in enumerate(sent):
        parts = list(content.parts)
        answers = [part.function_response.name for part in parts if part.function_response]
        # Its oldest version ends with an empty content where the last call is not answered yet.
        _demand(bool(parts) or place == len(sent) - 1, "a content has parts")
        in_progress = place == len(sent) - 1 and len(answers) < len(waiting) and (answers or not parts)
        _demand(
            sorted(answers) == sorted(waiting) or in_progress,
            "function responses are as many as calls, directly after them",
        )
        waiting = [part.function_call.name for part in parts if part.function_call]
    system_left_out = sum(message.type == "system" for message in messages[1:])
    _demand(not system_left_out, "a system message that is not the first is lost")
    _begins_right([str(content.role) for content in sent], {"user"}, from_human=from_human)


def _begins_right(roles: Sequence[str], allowed: set[str], *, from_human: bool) -> None:
    said = [role for role in roles if role not in {"system", "developer"}]
    _demand(not from_human or not said or said[0] in allowed, "it begins with what a person says")


TAKES: Mapping[str, Callable[..., None]] = {
    "openai": openai_takes,
    "responses": responses_takes,
    "anthropic": anthropic_takes,
    "gemini": gemini_takes,
}
"""Raises `Refused`, or what the package itself raises, where a provider would not take the messages."""
