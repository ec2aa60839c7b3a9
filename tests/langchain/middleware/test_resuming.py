"""Interrupts, crashes and redelivered events: a turn is stored when it ends, once."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("langchain.agents", exc_type=ImportError)

from langchain.agents.middleware import AgentMiddleware, HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from chatstash import ReplyGone
from chatstash.local import LocalUpstash
from tests.langchain.middleware.support import COLOURS, SESSION, THREAD, TURN, WAYS, Watched, agent
from tests.langchain.runnable.agents import MIDDLEWARE, weather
from tests.langchain.support import history, stored

EVENT = {"configurable": {"session_id": "s", "idempotency_key": "evt"}}
THREAD_EVENT = {"configurable": {"session_id": "s", "thread_id": "t", "idempotency_key": "evt"}}


@pytest.fixture(params=COLOURS)
def colour(request: pytest.FixtureRequest) -> Any:
    return COLOURS[request.param]


@tool("weather")
def asking(city: str) -> str:
    """Ask a person."""
    return f"{interrupt('which?')} in {city}"


APPROVED = Command(resume={"decisions": [{"type": "approve"}]})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("others", "tools", "resume", "result"),
    [
        ([], [asking], Command(resume="rain"), "rain in Rome"),
        ([HumanInTheLoopMiddleware(interrupt_on={"weather": True})], [weather], APPROVED, "sunny in Rome"),
    ],
    ids=["tool", "middleware"],
)
def test_an_interrupted_turn_is_stored_when_it_is_resumed(
    upstash: LocalUpstash, way: str, others: Any, tools: Any, resume: Any, result: str
) -> None:
    history(upstash).add_ai_message("Before.")
    model, saver = Watched(), InMemorySaver()
    for turn in (1, 2):
        before = upstash.stats.requests
        WAYS[way](
            agent(upstash, *others, model=model, tools=tools, checkpointer=saver), {"messages": "weather?"}, THREAD
        )
        assert upstash.stats.requests - before == 1
        assert [kind for kind, _ in stored(upstash)] == ["ai", *TURN * (turn - 1)]
        # Another process resumes it.
        before = upstash.stats.requests
        WAYS[way](agent(upstash, *others, model=model, tools=tools, checkpointer=saver), resume, THREAD)
        assert upstash.stats.requests - before == 2
        whole = [("human", "weather?"), ("ai", ""), ("tool", result), ("ai", "It is sunny today.")]
        assert stored(upstash) == [("ai", "Before."), *whole * turn]
        assert model.last == stored(upstash)[:-1]


@pytest.mark.parametrize("name", ["summary", "summary of this turn", "trimming", "all"])
def test_an_interrupted_turn_is_stored_beside_middleware_that_shortens(
    upstash: LocalUpstash, name: str, colour: Any
) -> None:
    model, saver = Watched(), InMemorySaver()
    for turn in (1, 2, 3):
        for value in ({"messages": "weather?"}, Command(resume="rain")):
            asked = agent(upstash, *MIDDLEWARE[name](), model=model, tools=[asking], checkpointer=saver)
            colour(asked, value, THREAD)
        assert [kind for kind, _ in stored(upstash)] == TURN * turn


def test_a_turn_that_is_abandoned_at_an_interrupt_is_stored_with_the_next(upstash: LocalUpstash, colour: Any) -> None:
    asked = agent(upstash, tools=[asking], checkpointer=InMemorySaver())
    colour(asked, {"messages": "weather?"}, THREAD)
    colour(asked, {"messages": "ok"}, THREAD)
    assert stored(upstash)[:3] == [("human", "weather?"), ("ai", ""), ("human", "ok")]


class Crashing(AgentMiddleware):
    """Fails once, at one hook."""

    def __init__(self, hook: str) -> None:
        super().__init__()
        self.hook, self.crashed = hook, False

    def _at(self, hook: str) -> None:
        if hook == self.hook and not self.crashed:
            self.crashed = True
            raise RuntimeError("crash")

    def before_agent(self, state: Any, runtime: Any) -> None:
        self._at("before_agent")

    def before_model(self, state: Any, runtime: Any) -> None:
        self._at("before_model")

    def after_model(self, state: Any, runtime: Any) -> None:
        self._at("after_model")

    def after_agent(self, state: Any, runtime: Any) -> None:
        self._at("after_agent")


@pytest.mark.parametrize("hook", ["before_agent", "before_model", "after_model", "after_agent"])
def test_a_run_that_crashed_is_resumed_and_stored_once(upstash: LocalUpstash, hook: str, colour: Any) -> None:
    model, saver = Watched(), InMemorySaver()
    colour(agent(upstash, model=model, checkpointer=saver), {"messages": "weather?"}, THREAD)
    crashing = Crashing(hook)
    with pytest.raises(RuntimeError, match="crash"):
        colour(agent(upstash, crashing, model=model, checkpointer=saver), {"messages": "weather?"}, THREAD)
    colour(agent(upstash, crashing, model=model, checkpointer=saver), None, THREAD)
    assert [kind for kind, _ in stored(upstash)] == TURN * 2
    colour(agent(upstash, model=model, checkpointer=saver), {"messages": "weather?"}, THREAD)
    assert model.last == stored(upstash)[:-1]
    assert [kind for kind, _ in stored(upstash)] == TURN * 3


def test_a_crash_after_the_turn_was_stored_stores_it_once(upstash: LocalUpstash, colour: Any) -> None:
    """The step that stores is repeated if its own checkpoint was lost."""
    saver = InMemorySaver()
    asked = agent(upstash, checkpointer=saver)
    colour(asked, {"messages": "weather?"}, THREAD)
    before = next(
        state for state in asked.get_state_history(THREAD) if state.next == ("ChatHistoryMiddleware.after_agent",)
    )
    kept = saver.storage["t"][""]
    for name in [name for name in kept if name > before.config["configurable"]["checkpoint_id"]]:
        del kept[name]
    saver.writes.clear()
    colour(asked, None, THREAD)
    assert [kind for kind, _ in stored(upstash)] == TURN


def test_a_redelivered_event_gets_the_stored_turn(upstash: LocalUpstash, colour: Any) -> None:
    history(upstash).add_user_message("Before.")
    model = Watched()
    first = colour(agent(upstash, model=model), {"messages": "weather?"}, EVENT)
    before = upstash.stats
    again = colour(agent(upstash, model=model), {"messages": "weather?"}, EVENT)
    spent = upstash.stats - before
    assert (spent.requests, spent.billed_commands) == (1, 4)
    assert again["messages"] == first["messages"]
    assert len(model.sent) == 2
    assert [kind for kind, _ in stored(upstash)] == ["human", *TURN]


@pytest.mark.parametrize("way", WAYS)
def test_a_redelivered_event_changes_nothing_in_a_thread(upstash: LocalUpstash, way: str) -> None:
    model = Watched()
    asked = agent(upstash, model=model, checkpointer=InMemorySaver())
    asked.invoke({"messages": "ok"}, THREAD)
    for _ in range(2):
        WAYS[way](asked, {"messages": "weather?"}, THREAD_EVENT)
    assert [message.type for message in asked.get_state(THREAD).values["messages"]] == ["human", "ai", *TURN]
    asked.invoke({"messages": "ok"}, THREAD)
    assert [kind for kind, _ in stored(upstash)] == ["human", "ai", *TURN, "human", "ai"]
    assert model.last == stored(upstash)[:-1]


def test_of_two_deliveries_at_the_same_time_one_is_stored(upstash: LocalUpstash, colour: Any) -> None:
    class Other(Watched):
        def _reply(self, messages: Any) -> AIMessage:
            if not self.sent:
                history(upstash).add_messages(
                    [HumanMessage("weather?", id="h"), AIMessage("Meanwhile.", id="a")], idempotency_key="evt"
                )
            return super()._reply(messages)

    done = colour(agent(upstash, model=Other()), {"messages": "weather?"}, EVENT)
    assert [message.content for message in done["messages"]] == ["weather?", "Meanwhile."]
    assert stored(upstash) == [("human", "weather?"), ("ai", "Meanwhile.")]


def test_an_event_whose_messages_are_gone_is_an_error(upstash: LocalUpstash, colour: Any) -> None:
    colour(agent(upstash), {"messages": "ok"}, EVENT)
    history(upstash).clear()
    with pytest.raises(ReplyGone):
        colour(agent(upstash), {"messages": "ok"}, EVENT)


def test_an_event_of_an_interrupted_turn_is_stored_when_it_is_resumed(upstash: LocalUpstash, colour: Any) -> None:
    asked = agent(upstash, tools=[asking], checkpointer=InMemorySaver())
    colour(asked, {"messages": "weather?"}, THREAD_EVENT)
    colour(asked, Command(resume="rain"), THREAD_EVENT)
    assert [kind for kind, _ in stored(upstash)] == TURN
    again = colour(agent(upstash), {"messages": "weather?"}, EVENT)
    assert [message.type for message in again["messages"]] == TURN


def test_the_window_is_not_in_the_checkpoints(upstash: LocalUpstash, colour: Any) -> None:
    history(upstash).add_user_message("Only in the list.")
    saver = InMemorySaver()
    colour(agent(upstash, tools=[asking], checkpointer=saver), {"messages": "weather?"}, THREAD)
    assert b"Only in the list." not in repr((saver.storage, saver.blobs, saver.writes)).encode()
    assert SESSION
