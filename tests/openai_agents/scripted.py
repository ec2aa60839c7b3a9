"""A model of the Agents SDK that says what it is told to, without a network."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from typing import Any

from agents import Model, ModelResponse, Usage, set_tracing_disabled
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

set_tracing_disabled(True)

_numbers = itertools.count()


def says(text: str) -> list[Any]:
    """A model's answer in words."""
    part = ResponseOutputText(text=text, type="output_text", annotations=[], logprobs=[])
    message = ResponseOutputMessage(
        id=f"msg_{next(_numbers)}", content=[part], role="assistant", status="completed", type="message"
    )
    return [message]


def calls(*named: tuple[str, str]) -> list[Any]:
    """A model's parallel tool calls: pairs of name and arguments in JSON."""
    return [
        ResponseFunctionToolCall(
            id=f"fc_{next(_numbers)}",
            call_id=f"call_{next(_numbers)}",
            name=name,
            arguments=arguments,
            type="function_call",
        )
        for name, arguments in named
    ]


class ScriptedModel(Model):
    """Answers with one entry of a script after the other, and remembers what it was sent."""

    def __init__(self, *script: list[Any]) -> None:
        self._script = list(script)
        self.inputs: list[Any] = []

    async def get_response(self, system_instructions: Any, input: Any, *arguments: Any, **more: Any) -> ModelResponse:  # noqa: A002
        self.inputs.append(input)
        return ModelResponse(output=self._script.pop(0), usage=Usage(), response_id=None)

    def stream_response(self, *arguments: Any, **more: Any) -> AsyncIterator[Any]:
        raise NotImplementedError


def texts(items: Sequence[Any]) -> list[str]:
    """The types and texts of items, in short."""
    found = []
    for item in items:
        content = item.get("content") or item.get("output") or item.get("name") or ""
        if isinstance(content, list):
            content = "".join(part.get("text", "") for part in content)
        found.append(f"{item.get('role') or item.get('type')}: {content}")
    return found
