"""Drafts: what a reply is while it is written, whoever reads it and whatever fails; and own data of records."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.runnables import RunnableGenerator

from chatstash import (
    Applied,
    DatabaseError,
    Record,
    Session,
    Store,
    UnstorableMessage,
    UpstashRedisChatMessageHistory,
    with_history,
)
from chatstash.history.draft import Draft
from chatstash.history.records.drafts import field_of, newest_draft
from chatstash.history.records.keys import companion_key
from chatstash.local import LocalUpstash
from tests.conftest import Call, command

History = UpstashRedisChatMessageHistory


@pytest.fixture
def history(upstash: LocalUpstash) -> Iterator[History]:
    with Store(upstash.url, upstash.token) as store:
        yield History("s", store=store)


def _draft(session: Session[Any], now: list[float], every: float = 1.0) -> Draft[Any]:
    return Draft(session, every, lambda: now[0])


@pytest.mark.parametrize("field", ["", "x", ".", "zz.zz", "6614c0147912d-40a565c1.x", "ü.0", "f-1." + "9" * 5000])
def test_what_others_wrote_beside_a_draft_stops_nobody(upstash: LocalUpstash, call: Call, field: str) -> None:
    history = UpstashRedisChatMessageHistory("s", upstash.url, upstash.token)
    with history.draft() as draft:
        draft.update("so far")
        command(upstash, "HSET", companion_key("draft", history.key), field, "x")
        found = call(history, "read_draft")
        assert found is not None
        assert found.text == "so far"


@pytest.mark.parametrize("kind", ["throttled", "server_error", "reply_lost"])
def test_a_draft_that_was_not_appended_is_finished_again(upstash: LocalUpstash, call: Call, kind: str) -> None:
    history = UpstashRedisChatMessageHistory("s", upstash.url, upstash.token, retries=0)
    draft = history.draft()
    call(draft, "update", "the reply")
    upstash.faults.next(kind)  # type: ignore[arg-type]
    with pytest.raises(DatabaseError) as caught:
        call(draft, "finish")
    for _ in range(2):
        call(draft, "finish")
    is_known = caught.value.applied is Applied.NO
    assert is_known == (kind == "throttled")
    assert len(history.messages) == (0 if kind == "server_error" else 1)


def test_a_reply_is_seen_while_it_is_written_and_appended_once(history: History, call: Call) -> None:
    session, now = history.session(), [0.0]
    with _draft(session, now) as draft:
        call(draft, "update", "One ")
        assert call(history, "read_draft").text == "One "
        call(draft, "update", "two ")
        assert call(history, "read_draft").text == "One "
        now[0] = 1.0
        call(draft, "update", "three")
        assert call(history, "read_draft").text == "One two three"
        assert history.messages == []
        call(draft, "update", ".")
    assert draft.appended is not None
    assert [message.content for message in history.messages] == ["One two three."]
    assert call(history, "read_draft") is None


def test_a_write_costs_what_is_documented(history: History, upstash: LocalUpstash) -> None:
    now = [0.0]
    assert history.messages == []
    with _draft(history.session(), now) as draft:
        for at, commands in ((0, 3), (1, 1), (2, 1), (1000, 2), (1001, 1)):
            now[0] = float(at)
            before = upstash.stats
            draft.update("x" * 1000)
            spent = upstash.stats - before
            assert (spent.requests, spent.billed_commands) == (1, commands)
            assert spent.bytes_received < 1500  # only what is new
    assert draft.appended is not None
    assert (draft.appended.cost.requests, draft.appended.cost.commands) == (1, 2)


def test_a_crash_leaves_the_draft(history: History, run: Callable[..., Any], call: Call) -> None:
    draft = history.draft()
    draft.update("left by a ")
    draft.update("crash")
    assert history.read_draft().text == "left by a "  # type: ignore[union-attr]
    assert 0 < run("TTL", companion_key("draft", history.key)) <= 3600
    with pytest.raises(ZeroDivisionError), history.draft() as other:
        other.update("left by ")
        other.update("an error")
        raise ZeroDivisionError
    assert history.read_draft().text == "left by an error"  # type: ignore[union-attr]
    assert history.messages == []
    with history.draft() as third:
        third.update("complete")
    assert call(history, "read_draft") is None
    history.clear()
    assert not run("EXISTS", companion_key("draft", history.key))


def test_a_failed_write_is_sent_again(
    history: History, upstash: LocalUpstash, call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    with _draft(history.session(), now) as draft:
        for at, fault in enumerate(["", "request_lost", "reply_lost", "server_error", ""]):
            now[0] = float(at)
            if fault:
                upstash.faults.next(fault)  # type: ignore[arg-type]
            with caplog.at_level(logging.WARNING, "chatstash"):
                call(draft, "update", f"{at} ")
        assert caplog.text.count("could not be written; its text is sent again") == 3
        assert history.read_draft().text == "0 1 2 3 4 "  # type: ignore[union-attr]
    assert [message.content for message in history.messages] == ["0 1 2 3 4 "]
    assert history.read_draft() is None


@pytest.mark.parametrize("fault", ["request_lost", "reply_lost", "truncated"])
def test_reply_and_draft_are_one_step(history: History, upstash: LocalUpstash, call: Call, fault: Any) -> None:
    with history.draft() as draft:
        draft.update("reply")
        upstash.faults.next(fault)
    assert [message.content for message in history.messages] == ["reply"]
    assert call(history, "read_draft") is None


def test_chunks_add_up_to_their_message(history: History) -> None:
    usage: Any = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    part = {"type": "text", "index": 0}
    with history.draft() as draft:
        draft.update(AIMessageChunk(content=[{**part, "text": "a"}], id="run-1"))
        draft.update(
            AIMessageChunk(content=[{"type": "text", "text": "b", "index": 0}], id="run-1", usage_metadata=usage)
        )  # type: ignore[arg-type]
        assert draft.text == "ab"
    (message,) = history.messages
    assert isinstance(message, AIMessage)
    assert (message.id, message.usage_metadata) == ("run-1", usage)
    assert type(message) is AIMessage


@pytest.mark.parametrize("delivery", ["standard", "strict"])
def test_a_draft_of_hours_is_dropped(upstash: LocalUpstash, delivery: Any) -> None:
    with Store(upstash.url, upstash.token, delivery=delivery) as store:
        session = store.session("s")
        draft = session.draft()
        draft.update("written for hours")
        draft._fields += [field_of("writer", number) for number in range(9000)]
        command(upstash, "HSET", companion_key("draft", session.key), draft._fields[-1], "x")
        draft.finish()
        assert draft.appended is not None
        assert not command(upstash, "EXISTS", companion_key("draft", session.key))
        assert session.count() == 1


def test_a_draft_over_or_without_text_appends_nothing(history: History, upstash: LocalUpstash) -> None:
    before = upstash.stats.requests
    with history.draft() as draft:
        pass
    with pytest.raises(RuntimeError, match="nothing was added"):
        draft.update("late")
    with history.draft() as draft:
        draft.update("")
        draft.update(AIMessageChunk(content=""))
    with pytest.raises(ValueError, match="not HumanMessage"), history.draft() as draft:
        draft.update(HumanMessage("x"))
    with pytest.raises(RuntimeError, match="nothing was added"):
        draft.update("late")
    for every in (0.1, 0, -1, None, "1", float("nan"), 10_000):
        with pytest.raises(ValueError, match="every must be"):
            history.draft(every=every)  # type: ignore[arg-type]
    assert upstash.stats.requests == before


def test_records_and_halves_of_characters(upstash: LocalUpstash) -> None:
    with Store(upstash.url, upstash.token) as store:
        session = store.session("s", user_id="u")
        with session.draft() as draft:
            draft.update("\ud83d")
            draft.update("é")
        assert [record.type for record in session.records()] == ["ai"]
        assert store.list_sessions(user_id="u").sessions[0].session_id == "s"


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(min_size=1, max_size=5), max_size=6), st.randoms(use_true_random=False))
def test_parts_in_any_order_are_one_text(parts: list[str], random: Any) -> None:
    fields, length = {}, 0
    for part in parts:
        fields[field_of("00000000000ff-x", length)] = part
        length += len(part)
    fields[field_of("00000000000fe-y", 0)] = "older"
    items = list(fields.items())
    random.shuffle(items)
    assert newest_draft(dict(items)) == (("00000000000ff-x", "".join(parts)) if parts else ("00000000000fe-y", "older"))


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_streams_with_memory_write_drafts(history: History, kind: str) -> None:
    seen: list[Any] = []

    def texts(chunks: Iterator[Any]) -> Iterator[str]:
        list(chunks)
        for text in ("Pa", "ris", "."):
            yield text
            seen.append(history.read_draft())

    async def atexts(chunks: AsyncIterator[Any]) -> AsyncIterator[str]:
        for text in ("Pa", "ris", "."):
            yield text
            seen.append(await history.aread_draft())

    chat = with_history(RunnableGenerator(texts, atexts), lambda session_id: history, draft=True)
    config = {"configurable": {"session_id": "s"}}

    async def stream() -> list[Any]:
        return [chunk async for chunk in chat.astream("Capital of France?", config)]

    received = list(chat.stream("Capital of France?", config)) if kind == "sync" else asyncio.run(stream())
    assert received == ["Pa", "ris", "."]
    assert seen[0].text == "Pa"
    assert [message.content for message in history.messages] == ["Capital of France?", "Paris."]
    assert history.read_draft() is None


def test_a_stream_that_is_closed_or_fails(history: History) -> None:
    def answer(chunks: Iterator[Any]) -> Iterator[str]:
        list(chunks)
        yield "Half "
        raise ZeroDivisionError

    chat = with_history(RunnableGenerator(answer), lambda session_id: history, draft=True)
    config = {"configurable": {"session_id": "s"}}
    with pytest.raises(ZeroDivisionError):
        list(chat.stream("q", config))
    assert history.read_draft().text == "Half "  # type: ignore[union-attr]
    assert history.messages == []
    chat = with_history(FakeListChatModel(responses=["Whole"]), lambda session_id: history, draft=True)
    stream = chat.stream("q", config)
    assert next(stream).content == "W"
    assert history.read_draft().text == "W"  # type: ignore[union-attr]
    stream.close()  # type: ignore[attr-defined]
    assert [message.content for message in history.messages] == ["q", "W"]
    assert history.read_draft() is None


def test_drafts_need_a_history_of_chatstash(history: History) -> None:
    from langchain_core.chat_history import InMemoryChatMessageHistory

    chat = with_history(FakeListChatModel(responses=["x"]), lambda session_id: InMemoryChatMessageHistory(), draft=True)
    with pytest.raises(ValueError, match="draft=True needs an UpstashRedisChatMessageHistory"):
        list(chat.stream("q", {"configurable": {"session_id": "s"}}))


def test_own_data_goes_with_records(history: History, upstash: LocalUpstash, call: Call) -> None:
    own = {"rating": 5, "tags": ["a", {"b": None}], "ü": "😀"}
    call(history, "add_messages", [HumanMessage("q"), AIMessage("a")], metadata=own)
    call(history, "add_messages", [HumanMessage("none")])
    assert [dict(record.metadata) for record in history.records()] == [own, own, {}]
    assert "rating" not in str(history.messages)
    history.replace_message(history.records()[0], HumanMessage("edited"))
    assert history.records()[0].metadata == own
    with history.guarded_turn() as turn:
        turn.add_messages([HumanMessage("turn")], metadata={"b": 2})
    assert history.records()[-1].metadata == {"b": 2}
    assert set(json.loads(command(upstash, "LINDEX", history.key, -1))) == {"type", "data", "metadata", "rid", "g"} - {
        "g"
    }
    session = history.session()
    assert call(session, "append", [AIMessage("x")], metadata={"a": 1}).cost.commands == 1


@pytest.mark.parametrize("metadata", [{"a": {1}}, {1: 2}, "x", {"a": "x" * 70_000}, {"a": float}, {"a": float("nan")}])
def test_own_data_that_cannot_be_stored(history: History, upstash: LocalUpstash, metadata: Any) -> None:
    before = upstash.stats.requests
    with pytest.raises(UnstorableMessage, match="metadata") as caught:
        history.add_messages([HumanMessage("q")], metadata=metadata)
    assert caught.value.path.startswith("metadata")
    assert upstash.stats.requests == before
    assert Record("human", {}).metadata == {}
