"""Lists written by the real old class and by LangChain.js move into threads, and an agent continues them."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langgraph.graph", reason="langgraph is not installed; make test installs it")

from langchain_community.chat_message_histories import UpstashRedisChatMessageHistory as OldHistory
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import BaseMessage, SystemMessage, message_to_dict
from typer.testing import CliRunner

from chatstash import UpstashRedisChatMessageHistory
from chatstash.cli.app import app
from chatstash.langgraph import UpstashRedisSaver
from chatstash.local import LocalUpstash
from tests.interop.test_langchain_js import HERE, _js
from tests.langgraph.migration.support import TURNS, config_of, contents

PREFIXES = {"langchain-community": "message_store:", "LangChain.js": ""}
"""LangChain.js stores a conversation under its session id."""

EXAMPLE = Path(__file__).parents[3] / "examples" / "move_to_langgraph.py"


def write(writer: str, upstash: LocalUpstash, session_id: str, messages: list[BaseMessage]) -> None:
    if writer == "langchain-community":
        old = OldHistory(session_id, upstash.url, upstash.token)
        for message in messages:
            old.add_message(message)
        old.redis_client.close()
    elif not HERE:
        pytest.skip("Node is missing, or `npm ci` was not run in tests/interop/js (make test does)")
    else:
        _js(upstash, session_id, [message_to_dict(message) for message in messages])


def stored(session_id: str) -> list[Any]:
    found = UpstashRedisSaver().get_tuple(config_of(session_id))
    assert found is not None
    return contents(found.checkpoint["channel_values"]["messages"])


@pytest.mark.parametrize("writer", ["langchain-community", "LangChain.js"])
def test_the_example_moves_them_and_an_agent_continues(
    upstash_environment: LocalUpstash, writer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(writer, upstash_environment, "user", TURNS)
    read = contents(UpstashRedisChatMessageHistory("user", key_prefix=PREFIXES[writer]).messages)
    assert read == contents(TURNS)
    main = runpy.run_path(str(EXAMPLE))["main"]
    main(["user"], FakeListChatModel(responses=["Numbers."]), PREFIXES[writer])
    assert capsys.readouterr().out == "user: created, 7 of 7 messages added\nNumbers.\n"
    assert [said[1] for said in stored("user")[len(TURNS) :]] == ["What did we talk about?", "Numbers."]
    assert stored("user")[: len(TURNS)] == read
    main(["user"], FakeListChatModel(responses=["Still numbers."]), PREFIXES[writer])
    assert capsys.readouterr().out == "user: unchanged, 0 of 7 messages added\nStill numbers.\n"


@pytest.mark.parametrize("writer", ["langchain-community", "LangChain.js"])
def test_the_command_moves_them_also_after_they_grew(upstash_environment: LocalUpstash, writer: str) -> None:
    write(writer, upstash_environment, "user", TURNS)
    options = ["--key-prefix", PREFIXES[writer]]
    assert CliRunner().invoke(app, ["migrate", *options]).exit_code == 0
    write(writer, upstash_environment, "user", [*TURNS[5:], SystemMessage("Stop.")])
    done = CliRunner().invoke(app, ["migrate", *options])
    assert "user  completed: 3 messages to user" in done.stdout
    assert stored("user") == contents([*TURNS, *TURNS[5:], SystemMessage("Stop.")])
