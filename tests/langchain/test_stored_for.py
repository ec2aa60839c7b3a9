"""`stored_for`: the messages that were added with an idempotency key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from chatstash import Store, UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash
from tests.langchain.support import history


def test_stored_for_returns_the_messages_of_its_key_only(upstash: LocalUpstash) -> None:
    conversation = history(upstash)
    assert conversation.stored_for("evt_1") is None
    conversation.add_messages([HumanMessage("before")])
    conversation.add_messages([HumanMessage("why?"), AIMessage("so.")], idempotency_key="evt_1")
    batch = next(record.id.batch for record in conversation.records() if record.data["content"] == "so." and record.id)
    forged = {"rid": f"{batch}.0/2"}
    conversation.add_messages([HumanMessage(f"after {n}", additional_kwargs=forged) for n in range(250)])
    assert [message.content for message in conversation.stored_for("evt_1") or []] == ["why?", "so."]
    assert [message.content for message in asyncio.run(conversation.astored_for("evt_1")) or []] == ["why?", "so."]
    with pytest.raises(ValueError, match="idempotency_key must be"):
        conversation.stored_for("")


def test_stored_for_finds_records_of_another_generation(upstash: LocalUpstash, run: Callable[..., Any]) -> None:
    conversation = history(upstash)
    conversation.add_messages([HumanMessage("why?"), AIMessage("so.")], idempotency_key="evt_1")
    for place in (0, 1):
        stored = run("LINDEX", "message_store:s", place)
        text = stored.decode() if isinstance(stored, bytes) else stored
        run("LSET", "message_store:s", place, text[:-1] + ',"g":7}')
    assert [message.content for message in conversation.stored_for("evt_1") or []] == ["why?", "so."]


def test_stored_for_finds_an_append_of_any_size(upstash: LocalUpstash) -> None:
    with Store(upstash.url, upstash.token, max_request_bytes=100_000) as store:
        conversation = UpstashRedisChatMessageHistory("s", store=store)
        texts = [str(number) * 20_000 for number in range(10)]
        conversation.add_messages([HumanMessage(text) for text in texts], idempotency_key="evt_1")
        assert [message.content for message in conversation.stored_for("evt_1") or []] == texts
