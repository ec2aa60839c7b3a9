"""The example's server with a model that the test conducts."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import httpx
import uvicorn
from langchain_core.language_models import SimpleChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk

HELD = 60
"""Seconds after which a held answer goes on, so that a failed test ends."""


class ConductedModel(SimpleChatModel):
    """Answers what a test says, and stops within an answer where the test says so.

    Attributes:
        answers: The answers, in their order; the last one is repeated. An error is raised. `|` marks where to stop,
            and `{fail}` where to fail.
        go_on: Set by the test for held answers to go on.
        asked: The messages of each call.
    """

    answers: list[Any]
    go_on: Any
    asked: list[Any]

    @property
    def _llm_type(self) -> str:
        return "conducted"

    def _call(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> str:
        raise NotImplementedError

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        self.asked.append(messages)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        for number, part in enumerate(answer.split("|")):
            if number:
                await asyncio.to_thread(self.go_on.wait, HELD)
            if part == "{fail}":
                raise ConnectionError("the model hung up")
            yield ChatGenerationChunk(message=AIMessageChunk(content=part))


@dataclass
class Server:
    """The example, as it is served.

    Attributes:
        url: Its address.
        model: The model.
    """

    url: str
    model: ConductedModel

    @contextmanager
    def browser(self) -> Iterator[Browser]:
        """A client that has opened the page, and so has a cookie of its own."""
        with httpx.Client(base_url=self.url, timeout=60) as client:
            client.get("/").raise_for_status()
            yield Browser(client)


class Browser:
    """What the page's script asks for, without a browser."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    @property
    def user(self) -> str:
        return self.client.cookies["user"]

    def get(self, path: str, **parameters: str) -> Any:
        return self.client.get(f"/api/{path}", params=parameters).raise_for_status().json()

    def write(self, session: str, text: str | None = None, replacing: str | None = None) -> list[tuple[str, Any]]:
        """Ask for an answer; return its events, as they came."""
        with self.writing(session, text, replacing) as events:
            return list(events)

    @contextmanager
    def writing(
        self, session: str, text: str | None = None, replacing: str | None = None
    ) -> Iterator[Iterator[tuple[str, Any]]]:
        """Ask for an answer, and read its events while they come; leaving the block closes the connection."""
        body = {"text": text, "replacing": replacing}
        with self.client.stream("POST", f"/api/sessions/{session}/answer", json=body) as response:
            response.raise_for_status()
            yield _events(response.iter_lines())

    def titles(self) -> list[str]:
        return [each["title"] for each in self.get("sessions")["sessions"]]

    def transcript(self, session: str) -> list[str]:
        return [each["text"] for each in self.messages(session)]

    def messages(self, session: str) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = self.get(f"sessions/{session}/messages")["messages"]
        return messages


def _events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line:
            yield name, json.loads(line.removeprefix("data: "))


def text_in(events: list[tuple[str, Any]]) -> str:
    return "".join(data for name, data in events if name == "words")


@contextmanager
def serve(app: ModuleType, model: ConductedModel) -> Iterator[Server]:
    """Serve the example to the test's process, on a free port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app.create_app(model), log_config=None, log_level="warning", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield Server(f"http://127.0.0.1:{listener.getsockname()[1]}", model)
        finally:
            model.go_on.set()
            server.should_exit = True
            thread.join(60)
    assert not thread.is_alive()
