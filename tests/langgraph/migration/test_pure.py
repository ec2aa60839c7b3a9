"""Ids and merging, for any conversation: the same ids each time, nothing lost, nothing doubled, order kept."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

pytest.importorskip("langgraph.checkpoint")

from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from chatstash.history.records.decoding import decode
from chatstash.langchain.messages import MESSAGES
from chatstash.langgraph.migration.identities import identified, identified_in_thread
from chatstash.langgraph.migration.merging import merged

texts = st.lists(st.sampled_from(["ok", "no", "maybe"]), max_size=12)


def ids(said: list[str], key: str = "k") -> list[str | None]:
    records = [decode(json.dumps({"type": "human", "data": {"content": text}}).encode()) for text in said]
    return [message.id for message in identified([MESSAGES.from_record(record) for record in records], records, key)]


@given(texts, texts)
def test_ids_are_distinct_and_stay_when_the_conversation_grows(said: list[str], more: list[str]) -> None:
    assert len({*ids(said)}) == len(said)
    assert ids(said + more)[: len(said)] == ids(said)


@given(texts, st.integers(0, 12))
def test_no_new_ids_appear_when_the_oldest_are_trimmed(said: list[str], trimmed: int) -> None:
    assert {*ids(said[trimmed:])} <= {*ids(said)}


def test_ids_differ_between_conversations() -> None:
    assert not {*ids(["ok"], "a")} & {*ids(["ok"], "b")}


def test_ids_stay_the_same_from_version_to_version() -> None:
    """Threads hold them: a change would import everything twice."""
    assert ids(["ok", "ok"]) == ["c9ee261d-0a4a-5f73-be8c-3d9f404853e9", "8d421c69-d0ba-54f7-8498-6b3f9331cb9c"]
    record = decode(b'{"type":"human","data":{"content":"x"},"rid":"AZNx3k0Qp7Zb1c2d.0/2"}')
    assert [message.id for message in identified([MESSAGES.from_record(record)], [record], "k")] == [
        "175aaf4d-21c8-515e-b736-246d6a41ef0f"
    ]
    assert [message.id for message in identified_in_thread([HumanMessage("x")], "t")] == [
        "64c1d296-94cf-59f7-8bb6-22ce11f13fb4"
    ]


def conversation_of(kinds: list[str]) -> list[BaseMessage]:
    """Return a conversation; results directly follow their call."""
    made: list[BaseMessage] = []
    call = ""
    for number, kind in enumerate(kinds):
        if kind == "call":
            call = f"call {number}"
            calls: list[Any] = [{"name": "f", "args": {}, "id": call}]
            made.append(AIMessage("", tool_calls=calls, id=str(number)))
        elif kind == "result" and made and made[-1].type != "human":
            made.append(ToolMessage("", tool_call_id=call, id=str(number)))
        else:
            made.append(HumanMessage("", id=str(number)))
    return made


conversations = st.lists(st.sampled_from(["text", "call", "result"]), max_size=10).map(conversation_of)


@given(conversations, conversations, st.randoms(use_true_random=False))
def test_merging_loses_and_doubles_nothing_and_keeps_both_orders(
    wanted: list[BaseMessage], others: list[BaseMessage], at: random.Random
) -> None:
    common = [each for each in wanted if at.random() < 0.5]
    for each in others:
        each.id = f"other {each.id}"
    present = list(common)
    for each in others:
        present.insert(at.randint(0, len(present)), each)
    missing = {each.id for each in wanted if each not in common and each.id}
    result = merged(present, wanted, missing)
    assert sorted(each.id or "" for each in result) == sorted({each.id or "" for each in [*wanted, *others]})
    assert [each for each in result if each.id not in missing] == present
    assert [each for each in result if each.id in missing] == [each for each in wanted if each.id in missing]


@given(conversations, st.randoms(use_true_random=False))
def test_what_was_taken_away_comes_back_to_its_place(wanted: list[BaseMessage], at: random.Random) -> None:
    kept = [each for each in wanted if at.random() < 0.5]
    assert merged(kept, wanted, {each.id for each in wanted if each not in kept and each.id}) == wanted


def test_results_of_the_thread_stay_with_their_call() -> None:
    call, result, last = conversation_of(["call", "result", "text"])
    new = HumanMessage("", id="new")
    assert merged([call, result, last], [call, new], {"new"}) == [call, result, new, last]
    assert merged([call, result, last], [call, new, result, last], {"new"}) == [call, result, new, last]
