"""The chat of the examples, served on a local Upstash."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatstash.local import LocalUpstash
from tests.examples.chatting import Browser, ConductedModel, Server, serve

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def server(upstash_environment: LocalUpstash, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The chat's server, with a model that the test conducts."""
    monkeypatch.syspath_prepend(str(EXAMPLES / "chat_app"))
    model = ConductedModel(answers=["Paris."], go_on=threading.Event(), asked=[])
    with serve(importlib.import_module("app"), model) as served:
        yield served


@pytest.fixture
def ada(server: Server) -> Iterator[Browser]:
    with server.browser() as browser:
        yield browser


@pytest.fixture
def bob(server: Server) -> Iterator[Browser]:
    with server.browser() as browser:
        yield browser
