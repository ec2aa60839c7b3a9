"""Agents within agents: the outer one stores the turn; an inner one stores only conversations of its own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("langchain.agents", exc_type=ImportError)

from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from chatstash import with_history
from chatstash.local import LocalUpstash
from tests.langchain.middleware.support import COLOURS, SESSION, THREAD, TURN, WAYS, Watched, agent
from tests.langchain.support import histories, stored


@pytest.fixture(params=COLOURS)
def colour(request: pytest.FixtureRequest) -> Any:
    return COLOURS[request.param]


def _delegating(upstash: LocalUpstash, inner: Any, config: Any = None) -> Any:
    """Make a tool that asks an agent, in its own colour."""

    def ask(city: str) -> str:
        return str(inner.invoke({"messages": f"the weather in {city}?"}, config)["messages"][-1].content)

    async def aask(city: str) -> str:
        return str((await inner.ainvoke({"messages": f"the weather in {city}?"}, config))["messages"][-1].content)

    made = tool("weather", description="Ask another agent.")(ask)
    made.coroutine = aask  # type: ignore[union-attr]
    return made


@pytest.mark.parametrize(
    ("way", "config"), [*((way, SESSION) for way in WAYS), ("invoke", THREAD), ("astream messages", THREAD)]
)
def test_an_inner_agent_with_the_same_session_stores_nothing(upstash: LocalUpstash, way: str, config: Any) -> None:
    inner_model = Watched()
    inner = agent(upstash, model=inner_model)
    saver = InMemorySaver() if config is THREAD else None
    outer = agent(upstash, tools=[_delegating(upstash, inner)], checkpointer=saver)
    for turn in (1, 2):
        before = upstash.stats.requests
        WAYS[way](outer, {"messages": "weather?"}, config)
        assert upstash.stats.requests - before == 2
        assert [kind for kind, _ in stored(upstash)] == TURN * turn
    assert stored(upstash)[-2] == ("tool", "It is sunny today.")
    assert inner_model.last[0] == ("human", "the weather in Rome?")


def test_an_inner_agent_with_another_session_has_its_own_conversation(upstash: LocalUpstash, colour: Any) -> None:
    own = {"configurable": {"session_id": "inner"}}
    outer = agent(upstash, tools=[_delegating(upstash, agent(upstash), own)])
    event = {"configurable": {"session_id": "s", "idempotency_key": "evt"}}
    for config in (SESSION, event, SESSION):
        colour(outer, {"messages": "weather?"}, config)
    assert [kind for kind, _ in stored(upstash)] == TURN * 3
    # It has inherited the outer event's key, and must not take it for its own.
    assert [kind for kind, _ in stored(upstash, "inner")] == TURN * 3


def test_an_agent_may_be_a_node_of_a_graph(upstash: LocalUpstash, colour: Any) -> None:
    model = Watched()
    graph = StateGraph(MessagesState)
    graph.add_node("agent", agent(upstash, model=model))
    graph.add_edge(START, "agent")
    for turn in (1, 2):
        colour(graph.compile(), {"messages": [HumanMessage("weather?")]})
        assert [kind for kind, _ in stored(upstash)] == TURN * turn
    assert model.last == stored(upstash)[:-1]


def test_two_agents_of_a_graph_store_each_message_once(upstash: LocalUpstash, colour: Any) -> None:
    graph = StateGraph(MessagesState)
    graph.add_node("first", agent(upstash))
    graph.add_node("second", agent(upstash))
    graph.add_edge(START, "first")
    graph.add_edge("first", "second")
    for turn in (1, 2):
        colour(graph.compile(), {"messages": [HumanMessage("ok")]})
        # The second one is asked with the answer of the first, and calls its tool.
        assert [kind for kind, _ in stored(upstash)] == ["human", "ai", "ai", "tool", "ai"] * turn


def test_a_graph_with_a_checkpointer_stores_each_message_once(upstash: LocalUpstash, colour: Any) -> None:
    model = Watched()
    graph = StateGraph(MessagesState)
    graph.add_node("agent", agent(upstash, model=model))
    graph.add_edge(START, "agent")
    compiled = graph.compile(checkpointer=InMemorySaver())
    for turn in (1, 2, 3):
        colour(compiled, {"messages": [HumanMessage("weather?")]}, THREAD)
        assert [kind for kind, _ in stored(upstash)] == TURN * turn
    assert model.last == stored(upstash)[:-1]


def test_concurrent_turns_are_stored_whole(upstash: LocalUpstash) -> None:
    async def all_at_once() -> None:
        runs = [agent(upstash).ainvoke({"messages": f"weather {n}?"}, SESSION) for n in range(8)]
        await asyncio.gather(*runs)

    asyncio.run(all_at_once())
    said = stored(upstash)
    assert [kind for kind, _ in said] == TURN * 8
    assert sorted(str(text) for kind, text in said if kind == "human") == [f"weather {n}?" for n in range(8)]


def test_within_with_history_the_outer_one_stores(upstash: LocalUpstash, colour: Any) -> None:
    model = Watched()
    chain = with_history(agent(upstash, model=model), histories(upstash), input_messages_key="messages")
    for turn in (1, 2):
        before = upstash.stats.requests
        colour(chain, {"messages": "weather?"}, SESSION)
        assert upstash.stats.requests - before == 2
        assert [kind for kind, _ in stored(upstash)] == TURN * turn
    assert model.last == stored(upstash)[:-1]
