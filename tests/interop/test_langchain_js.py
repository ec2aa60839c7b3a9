"""The real LangChain.js class and ours read what the other wrote. Needs Node and npm, as CI has them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from chatstash import Store, UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash
from tests.conftest import Call

JS = Path(__file__).parent / "js"
HERE = shutil.which("node") is not None and (JS / "node_modules" / "@langchain").is_dir()

pytestmark = pytest.mark.skipif(
    not HERE, reason="Node is missing, or `npm ci` was not run in tests/interop/js (make test does)"
)

CALL = {"name": "search", "args": {"query": "naïve 😀", "deep": [1, {"a": None}]}, "id": "call_1", "type": "tool_call"}
BAD_CALL = {"name": "f", "args": "{bad", "id": "call_2", "error": "no JSON", "type": "invalid_tool_call"}
USAGE: Any = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
SHARED: list[BaseMessage] = [
    SystemMessage("You are terse.", id="s1"),
    HumanMessage("naïve 😀 \u2028 \x00", id="h1", name="ada"),
    HumanMessage([{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": "data:,x"}}]),
    AIMessage("", id="a1", tool_calls=[CALL], additional_kwargs={"refusal": None, "n": 1.5}),
    AIMessage("", id="a2", invalid_tool_calls=[BAD_CALL]),
    ToolMessage("42", tool_call_id="call_1", name="search", id="t1", artifact={"rows": 1}, status="error"),
    ToolMessage("43", tool_call_id="call_2"),
    FunctionMessage("7", name="add", id="f1"),
    AIMessage("done", response_metadata={"model_name": "m"}, usage_metadata=USAGE),
]  # fmt: skip


def _js(upstash: LocalUpstash, session_id: str, write: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    """Write with LangChain.js where asked to, and return what it reads."""
    done = subprocess.run(
        ["node", "langchain.mjs"],
        cwd=JS,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", **upstash.environment},
        input=json.dumps({"sessionId": session_id, "write": write}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    read: list[dict[str, Any]] = json.loads(done.stdout.strip("\n").rsplit("\n", 1)[-1])
    return read


def _seen(message: BaseMessage) -> dict[str, Any]:
    """What both sides must agree on."""
    return {
        "type": message.type,
        "content": message.content,
        "name": message.name,
        "id": message.id,
        "tool_calls": getattr(message, "tool_calls", []),
        "invalid_tool_calls": getattr(message, "invalid_tool_calls", []),
        "tool_call_id": getattr(message, "tool_call_id", None),
        "role": getattr(message, "role", None),
        "additional_kwargs": message.additional_kwargs,
    }


def test_what_is_written_here_is_read_there(upstash: LocalUpstash) -> None:
    ours = UpstashRedisChatMessageHistory("s", upstash.url, upstash.token)
    ours.add_messages(SHARED)
    assert _js(upstash, ours.key) == [_seen(message) for message in SHARED]


def test_what_is_written_there_is_read_here(upstash: LocalUpstash, call: Call) -> None:
    ours = UpstashRedisChatMessageHistory("s", upstash.url, upstash.token)
    stored = [{"type": message.type, "data": message.model_dump()} for message in SHARED]
    seen_there = _js(upstash, ours.key, write=stored)
    read_here = call(ours, "messages")
    assert [type(message) for message in read_here] == [type(message) for message in SHARED]
    assert [_seen(message) for message in read_here] == seen_there
    assert [_seen(message) for message in read_here] == [_seen(message) for message in SHARED]


def test_a_session_id_of_theirs_is_a_whole_key_of_ours(upstash: LocalUpstash) -> None:
    _js(upstash, "bare", write=[{"type": "human", "data": {"content": "hi"}}])
    ours = UpstashRedisChatMessageHistory("bare", upstash.url, upstash.token, key_prefix="")
    assert [message.content for message in ours.messages] == ["hi"]


def test_their_generic_type_reads_as_a_chat_message(upstash: LocalUpstash, call: Call) -> None:
    ours = UpstashRedisChatMessageHistory("s", upstash.url, upstash.token)
    _js(upstash, ours.key, write=[{"type": "generic", "data": {"content": "Hm", "role": "moderator", "id": "g1"}}])
    (message,) = call(ours, "messages")
    assert isinstance(message, ChatMessage)
    assert (message.content, message.role, message.id) == ("Hm", "moderator", "g1")


@pytest.mark.parametrize("message", [ChatMessage("x", role="r")], ids=lambda message: message.type)
def test_types_they_cannot_read(upstash: LocalUpstash, message: BaseMessage) -> None:
    """Documented in docs/compatibility.md: LangChain.js throws on these."""
    ours = UpstashRedisChatMessageHistory("s", upstash.url, upstash.token)
    ours.add_message(message)
    with pytest.raises(AssertionError, match="Got unexpected type"):
        _js(upstash, ours.key)


@pytest.mark.parametrize("user_id", [None, "a/b"])
def test_they_read_what_was_edited_regenerated_and_drafted(upstash: LocalUpstash, user_id: str | None) -> None:
    with Store(upstash.url, upstash.token, index=True, ttl=600) as store:
        ours = UpstashRedisChatMessageHistory("s", user_id=user_id, store=store)
        _js(upstash, ours.key, [{"type": "human", "data": {"content": "theirs"}}])
        theirs = ours.records()[0]
        ours.add_messages([*SHARED, HumanMessage("q", id="q"), AIMessage("a", id="a")], metadata={"rating": 5})
        ours.replace_message(theirs, HumanMessage("edited", id="e"))
        ours.replace_message("h1", HumanMessage("edited, too", id="h1"))
        ours.delete_messages("s1")
        for text in ("b", "c"):
            with ours.guarded_turn(replacing="a") as turn:
                turn.add_ai_message(AIMessage(text, id="a"))
        ours.switch_to(ours.alternatives("a")[1])
        store.update_session("s", user_id=user_id, title="T", metadata={"a": 1})
        draft = ours.draft()
        draft.update("half a reply")
        read = _js(upstash, ours.key)
        assert [message["content"] for message in read] == [_seen(message)["content"] for message in ours.messages]
        assert [read[0]["content"], read[1]["content"], read[-1]["content"]] == ["edited", "edited, too", "b"]
        assert ours.fork("copy", upto="q").length == len(read) - 1
        copy = UpstashRedisChatMessageHistory("copy", user_id=user_id, store=store)
        assert len(_js(upstash, copy.key)) == len(read) - 1
