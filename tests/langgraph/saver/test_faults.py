"""Lost replies, late writes, crashes and lagging replicas: what is stored stays exact, and a run can go on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, get_args

import pytest

pytest.importorskip("langgraph.graph", reason="langgraph is not installed; make test installs it")

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import END, START, MessagesState, StateGraph

from chatstash import Budget, DatabaseError, RetryPolicy, Store
from chatstash.langgraph import UpstashRedisSaver
from chatstash.local import Fault, LocalUpstash
from chatstash.local.faults import FaultKind
from tests.langgraph.saver.application import run_at_random

QUICK = Budget(timeout=60, first_pause=0.001, longest_pause=0.002)
ONCE = Budget(timeout=60, retries=0)


def saver_of(upstash: LocalUpstash, budget: Budget = QUICK) -> UpstashRedisSaver:
    return UpstashRedisSaver(store=Store(upstash.url, upstash.token, retry_policy=RetryPolicy(budget, budget, budget)))


# Silence takes the client's patience.
_KINDS = sorted(set(get_args(FaultKind)) - {"no_answer"})


def fault_of(kind: FaultKind) -> Fault:
    return Fault(kind, probability=0.25, seconds=0.02 if kind in ("applied_late", "delay") else 0.0)


@pytest.mark.parametrize("kind", _KINDS)
def test_every_fourth_request_fails(upstash: LocalUpstash, kind: FaultKind) -> None:
    upstash.faults.add(fault_of(kind))
    for seed in (3, 4):
        run_at_random(seed, lambda: saver_of(upstash), turns=2)
    assert upstash.stats.faults > 5


@pytest.mark.long
@pytest.mark.parametrize("kind", _KINDS)
def test_every_fourth_request_fails_for_long(upstash: LocalUpstash, kind: FaultKind) -> None:
    upstash.faults.add(fault_of(kind))
    for seed in range(10):
        run_at_random(seed, lambda: saver_of(upstash))


def graph(saver: Any) -> Any:
    def first(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(f"first {len(state['messages'])}", id=f"first {len(state['messages'])}")]}

    def second(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(f"second {len(state['messages'])}", id=f"second {len(state['messages'])}")]}

    built: Any = StateGraph(MessagesState)
    built.add_node("first", first)
    built.add_node("second", second)
    built.add_edge(START, "first")
    built.add_edge("first", "second")
    built.add_edge("second", END)
    return built.compile(checkpointer=saver)


CONFIG: Any = {"configurable": {"thread_id": "t"}}
INPUT: Any = {"messages": [HumanMessage("hello", id="in")]}
EXPECTED = ["hello", "first 1", "second 2"]


def texts(app: Any) -> list[str]:
    return [message.content for message in app.get_state(CONFIG).values.get("messages", [])]


def run(app: Any, wanted: Any, durability: str, *, in_async: bool) -> None:
    if in_async:
        asyncio.run(app.ainvoke(wanted, CONFIG, durability=durability))
    else:
        app.invoke(wanted, CONFIG, durability=durability)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("kind", ["request_lost", "reply_lost"])
def test_a_process_that_dies_at_any_request(upstash: LocalUpstash, kind: FaultKind, durability: str) -> None:
    died = 0
    in_async = (kind == "request_lost") == (durability == "async")
    for number in range(12):
        upstash.reset()
        upstash.faults.next(*[None] * number, kind)
        try:
            run(graph(saver_of(upstash, ONCE)), INPUT, durability, in_async=in_async)
        except DatabaseError:
            died += 1
        upstash.faults.clear()
        app = graph(saver_of(upstash))
        state = app.get_state(CONFIG)
        if state.next or state.tasks:
            run(app, None, durability, in_async=in_async)
        elif not state.values:
            run(app, INPUT, durability, in_async=in_async)
        assert texts(graph(saver_of(upstash))) == EXPECTED, number
        history = [[m.content for m in one.values.get("messages", [])] for one in app.get_state_history(CONFIG)]
        assert all(EXPECTED[: len(messages)] == messages for messages in history)
    assert died >= (2 if durability == "exit" else 6)


def test_a_write_that_is_applied_late_changes_nothing(upstash: LocalUpstash) -> None:
    """The client's retry is applied first, and the lost request after the next turns."""
    app = graph(saver_of(upstash))
    for number in range(8):
        upstash.faults.next(*[None] * number, Fault("applied_late", held=True))
        app.invoke({"messages": [HumanMessage(f"turn {number}", id=f"turn {number}")]}, CONFIG, durability="sync")
        upstash.faults.clear()
    before = list(app.get_state_history(CONFIG))
    assert upstash.release() > 0
    assert list(graph(saver_of(upstash)).get_state_history(CONFIG)) == before


@pytest.fixture(scope="module")
def lagging() -> Iterator[LocalUpstash]:
    with LocalUpstash(replica_lag=3600) as upstash:
        yield upstash


@pytest.mark.parametrize("in_async", [False, True])
def test_a_cold_process_sees_the_newest_checkpoint_of_others(lagging: LocalUpstash, in_async: bool) -> None:
    """The replica lags by an hour, and answers reads and scripts that only read."""
    lagging.reset()
    for number in range(3):
        app = graph(saver_of(lagging))
        run(app, {"messages": [HumanMessage(f"turn {number}", id=f"turn {number}")]}, "sync", in_async=in_async)
        assert len(texts(app)) == 3 * (number + 1)
    warm = graph(saver_of(lagging))
    for _ in range(3):
        # Both processes hold a token of an earlier write.
        for app in (warm, graph(saver_of(lagging))):
            run(app, {"messages": [HumanMessage("turn")]}, "sync", in_async=in_async)
    assert len(texts(graph(saver_of(lagging)))) == 3 * (3 + 6)
    assert len(list(warm.get_state_history(CONFIG))) == 9 * 4
