"""UpstashSession: items come back to the last field, once, and other readers see messages."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from chatstash import (
    Budget,
    CorruptRecord,
    RetryPolicy,
    Store,
    UnstorableMessage,
    UpstashRedisChatMessageHistory,
)
from chatstash.local import Fault, LocalUpstash
from chatstash.openai_agents import UpstashSession
from chatstash.openai_agents.codec import groups_of
from chatstash.openai_agents.views import items_of, view_of

Run = Callable[..., Any]
ROOT = Path(__file__).parents[2]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def answer(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": [part]}


def call(call_id: str, arguments: str = '{"a": 1}') -> dict[str, Any]:
    return {"type": "function_call", "id": f"fc_{call_id}", "call_id": call_id, "name": "f", "arguments": arguments}


def output(call_id: str, text: str = "found") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": text}


REASONING = {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "x"}
TURN = [user("hi"), REASONING, call("1"), call("2"), output("1"), output("2"), REASONING, answer("done")]


@pytest.fixture
def session(upstash: LocalUpstash) -> UpstashSession:
    return UpstashSession("s", upstash.url, upstash.token)


def history(upstash: LocalUpstash) -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory("s", upstash.url, upstash.token)


def run(awaitable: Any) -> Any:
    return asyncio.run(awaitable)


def test_items_come_back_in_order(session: UpstashSession) -> None:
    run(session.add_items(TURN))
    run(session.add_items([user("again")]))
    assert run(session.get_items()) == [*TURN, user("again")]
    assert [list(item) for item in run(session.get_items())] == [list(item) for item in [*TURN, user("again")]]
    for limit in range(10):
        assert run(session.get_items(limit)) == ([*TURN, user("again")][-limit:] if limit else [])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
any_item = st.one_of(
    st.builds(user, st.text()),
    st.builds(answer, st.text()),
    st.builds(call, st.text(), st.text()),
    st.builds(output, st.text(), st.text()),
    st.fixed_dictionaries({"type": st.sampled_from(["reasoning", "web_search_call", "compaction", "x"])}),
    st.dictionaries(st.text(), json_values, max_size=4),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(any_item, max_size=8), more=st.lists(any_item, max_size=3), pops=st.integers(0, 4))
def test_any_items_come_back(upstash: LocalUpstash, items: list[Any], more: list[Any], pops: int) -> None:
    async def use() -> None:
        session = UpstashSession("any", upstash.url, upstash.token)
        await session.clear_session()
        await session.add_items(items)
        await session.add_items(more)
        left = [*items, *more]
        assert await session.get_items() == left
        for _ in range(pops):
            assert await session.pop_item() == (left.pop() if left else None)
        assert await session.get_items() == left
        assert await session.get_items(2) == left[-2:]
        await session.replace_items(more)
        assert await session.get_items() == more

    run(use())


def test_each_operation_takes_few_requests(upstash: LocalUpstash, session: UpstashSession) -> None:
    def cost(awaitable: Any) -> tuple[int, int]:
        before = upstash.stats
        run(awaitable)
        used = upstash.stats - before
        return used.requests, used.billed_commands

    assert cost(session.add_items(TURN)) == (1, 1)
    assert cost(session.get_items()) == (1, 1)
    assert cost(session.get_items(3)) == (1, 3)
    assert cost(session.replace_items([user("x"), user("y")])) == (1, 5)
    assert cost(session.pop_item()) == (2, 7)
    assert cost(session.add_items([])) == (0, 0)


def test_other_readers_see_messages(upstash: LocalUpstash, session: UpstashSession) -> None:
    run(session.add_items([{"role": "developer", "content": [{"type": "input_text", "text": "be kind"}]}, *TURN]))
    assert history(upstash).messages == [
        SystemMessage("be kind"),
        HumanMessage("hi"),
        AIMessage(
            "", tool_calls=[{"name": "f", "args": {"a": 1}, "id": "1"}, {"name": "f", "args": {"a": 1}, "id": "2"}]
        ),
        ToolMessage("found", tool_call_id="1"),
        ToolMessage("found", tool_call_id="2"),
        AIMessage("done"),
    ]


def test_messages_of_others_come_as_items(upstash: LocalUpstash, session: UpstashSession) -> None:
    history(upstash).add_messages(
        [
            SystemMessage("be kind"),
            HumanMessage([{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "x"}}]),
            AIMessage("let me see", tool_calls=[{"name": "f", "args": {"a": 1}, "id": "1"}]),
            ToolMessage("found", tool_call_id="1"),
            AIMessage("done"),
        ]
    )
    assert run(session.get_items()) == [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "let me see"},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": '{"a": 1}'},
        {"type": "function_call_output", "call_id": "1", "output": "found"},
        {"role": "assistant", "content": "done"},
    ]
    assert run(session.pop_item()) == {"role": "assistant", "content": "done"}
    run(session.pop_item())
    assert run(session.pop_item())["type"] == "function_call"
    assert history(upstash).messages[-1] == AIMessage("let me see")


@pytest.mark.parametrize(
    ("items", "kind", "data"),
    [
        ([user("x")], "human", {"content": "x"}),
        ([{"type": "message", "role": "system", "content": "x"}], "system", {"content": "x"}),
        ([answer("x")], "ai", {"content": "x"}),
        ([{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}], "ai", {"content": "no"}),
        ([output("1", "x")], "tool", {"content": "x", "tool_call_id": "1"}),
        (
            [{"type": "function_call_output", "call_id": "1", "output": [{"type": "input_text", "text": "x"}]}],
            "tool",
            {"content": "x", "tool_call_id": "1"},
        ),
        ([REASONING], "ai", {"content": ""}),
    ],
)
def test_the_view_of_items(items: list[Any], kind: str, data: dict[str, Any]) -> None:
    assert view_of(items) == (kind, data)


def test_arguments_that_are_no_json_are_an_invalid_call() -> None:
    _, data = view_of([call("1", "{broken"), call("2", "[1]"), call("3", "")])
    assert [one["id"] for one in data["invalid_tool_calls"]] == ["1", "2"]
    assert [(one["id"], one["args"]) for one in data["tool_calls"]] == [("3", {})]


def test_parallel_calls_share_a_record() -> None:
    assert [len(group) for group in groups_of(TURN)] == [1, 3, 1, 1, 2]
    assert [len(group) for group in groups_of([call("1"), REASONING, call("2"), output("1")])] == [3, 1]
    assert groups_of([REASONING, REASONING]) == [[REASONING, REASONING]]
    assert groups_of([user("x"), REASONING]) == [[user("x"), REASONING]]
    assert groups_of([]) == []


def test_a_limit_of_the_settings(upstash: LocalUpstash) -> None:
    agents = pytest.importorskip("agents")
    session = UpstashSession("s", upstash.url, upstash.token, session_settings=agents.SessionSettings(limit=2))
    run(session.add_items(TURN))
    assert run(session.get_items()) == TURN[-2:]
    assert run(session.get_items(4)) == TURN[-4:]


@pytest.mark.parametrize("kind", ["request_lost", "reply_lost", "replayed", "truncated", "reset"])
def test_nothing_is_popped_or_replaced_twice(upstash: LocalUpstash, kind: Any) -> None:
    quick = Budget(timeout=60, first_pause=0.001, longest_pause=0.002)
    store = Store(upstash.url, upstash.token, retry_policy=RetryPolicy(quick, quick, quick))

    async def use() -> None:
        session = UpstashSession("s", store=store)
        items = [user(str(number)) for number in range(20)] + [call(str(number)) for number in range(20)]
        await session.add_items(items)
        for number in range(30):
            upstash.faults.add(Fault(kind, probability=0.4))
            assert await session.pop_item() == items.pop()
            upstash.faults.clear()
            assert await session.get_items() == items, number
        upstash.faults.add(Fault(kind, probability=0.4))
        for number in range(10):
            await session.replace_items([user(f"compacted {number}")])
            await session.add_items([user("more")])
            assert await session.get_items() == [user(f"compacted {number}"), user("more")]

    run(use())
    assert upstash.stats.faults > 5


def test_a_late_request_pops_nothing_more(upstash: LocalUpstash, session: UpstashSession) -> None:
    run(session.add_items([user("1"), user("2"), user("3")]))
    upstash.faults.next(None, Fault("applied_late", held=True))
    assert run(session.pop_item()) == user("3")
    run(session.add_items([user("4")]))
    upstash.release()
    assert run(session.get_items()) == [user("1"), user("2"), user("4")]


def test_two_that_pop_at_once_get_different_items(upstash: LocalUpstash) -> None:
    async def use() -> None:
        first = UpstashSession("s", store=Store(upstash.url, upstash.token))
        await first.add_items([user(str(number)) for number in range(10)])
        others = [UpstashSession("s", store=Store(upstash.url, upstash.token)) for _ in range(3)]
        popped = await asyncio.gather(*(other.pop_item() for other in others))
        assert sorted(item["content"] for item in popped if item) == ["7", "8", "9"]

    run(use())


def test_a_ttl(upstash: LocalUpstash, run: Run) -> None:
    session = UpstashSession("s", upstash.url, upstash.token, ttl=100)
    asyncio.run(session.add_items(TURN))
    assert 0 < run("TTL", "message_store:s") <= 100
    run("PERSIST", "message_store:s")
    asyncio.run(session.replace_items(TURN))
    assert 0 < run("TTL", "message_store:s") <= 100


def test_bad_input(upstash: LocalUpstash, session: UpstashSession) -> None:
    for items in (["text"], [user("x"), {"x": object()}]):
        for add in (session.add_items, session.replace_items):
            with pytest.raises(UnstorableMessage):
                run(add(items))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="limit"):
        run(session.get_items("2"))  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        UpstashSession("", upstash.url, upstash.token)
    with pytest.raises(ValueError, match="not both"):
        UpstashSession("s", "http://x", store=Store(upstash.url, upstash.token))
    with pytest.raises(TypeError):
        UpstashSession("s", upstash.url, upstash.token, tll=1)  # type: ignore[call-arg]
    assert upstash.stats.requests == 0
    assert upstash.token not in repr(session)


def test_a_damaged_record_is_said_and_not_popped(upstash: LocalUpstash, session: UpstashSession, run: Run) -> None:
    asyncio.run(session.add_items([user("x")]))
    for damaged in ('{"type":"human"', '{"type":"human","data":{"content":"x"},"items":[7]}'):
        run("LPUSH", "message_store:s", damaged)
        for attempt in (session.get_items, session.pop_item):
            with pytest.raises(CorruptRecord):
                asyncio.run(attempt())
        assert run("LPOP", "message_store:s") == damaged


def test_nothing_of_openai_is_imported() -> None:
    names = "'agents', 'openai', 'langchain_core'"
    code = f"import sys, chatstash.openai_agents; print([name for name in sys.modules if name in ({names})])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_a_message_of_every_type_becomes_items() -> None:
    from chatstash.history.records.record import Record

    for kind in ("human", "ai", "system", "tool", "chat", "function", "AIMessageChunk", "unknown"):
        assert items_of(Record(kind, {"content": "x"}))
