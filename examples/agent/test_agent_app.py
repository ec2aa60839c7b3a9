"""Tests of agent_app.py with a scripted model and a local Upstash: no account, no network.

pip install 'chatstash[local]' pytest httpx
pytest
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from agent_app import create_app
from fastapi.testclient import TestClient
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from chatstash.local import LocalUpstash


class ScriptedModel(BaseChatModel):
    """Asks for the weather, then tells it."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _answer(self, messages: list[BaseMessage]) -> AIMessage:
        if isinstance(messages[-1], HumanMessage):
            return AIMessage("", tool_calls=[{"name": "weather", "args": {"city": "Rome"}, "id": f"c{len(messages)}"}])
        questions = sum(isinstance(message, HumanMessage) for message in messages)
        return AIMessage(f"{messages[-1].text} That was question {questions}.")

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._answer(messages))])

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        answer = self._answer(messages)
        for call in answer.tool_calls:
            chunk = tool_call_chunk(name=call["name"], args=json.dumps(call["args"]), id=call["id"], index=0)
            yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[chunk]))
        for word in answer.text.split(" ") if answer.text else []:
            yield ChatGenerationChunk(message=AIMessageChunk(content=f"{word} "))


@pytest.fixture
def client(upstash_environment: LocalUpstash) -> Iterator[TestClient]:
    with TestClient(create_app(ScriptedModel())) as client:
        yield client


def ask(client: TestClient, question: str, **headers: str) -> list[tuple[str, Any]]:
    with client.stream("GET", "/chat/user-42", params={"question": question}, headers=headers) as response:
        text = "".join(response.iter_text())
    found = [event.split("\n") for event in text.strip().split("\n\n")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in found]


def words(events: list[tuple[str, Any]]) -> str:
    return "".join(data["text"] for name, data in events if name == "token").strip()


def test_the_answer_is_streamed_and_remembered(client: TestClient) -> None:
    events = ask(client, "What is the weather?")
    assert events[0] == ("tool", {"name": "weather", "result": "Sunny in Rome."})
    assert words(events) == "Sunny in Rome. That was question 1."
    assert events[-1] == ("end", {"stored": True})
    assert words(ask(client, "And now?")) == "Sunny in Rome. That was question 2."
    roles = [message["role"] for message in client.get("/chat/user-42/transcript").json()]
    assert roles == ["human", "ai", "tool", "ai"] * 2


def test_a_repeated_request_is_stored_once(client: TestClient) -> None:
    for _ in range(2):
        events = ask(client, "What is the weather?", **{"idempotency-key": "evt"})
        assert words(events) == "Sunny in Rome. That was question 1."
        assert events[-1] == ("end", {"stored": True})
    assert len(client.get("/chat/user-42/transcript").json()) == 4


def test_an_answer_that_cannot_be_stored_is_still_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalUpstash(read_only_token="reader") as upstash:
        monkeypatch.setenv("UPSTASH_REDIS_REST_URL", upstash.url)
        monkeypatch.setenv("UPSTASH_REDIS_REST_TOKEN", "reader")
        with TestClient(create_app(ScriptedModel())) as client:
            events = ask(client, "What is the weather?")
    assert words(events) == "Sunny in Rome. That was question 1."
    assert events[-2:] == [("error", {"error": "ReadOnlyToken"}), ("end", {"stored": False})]
