"""Memory in deep agents, beside chatstash's own checkpointer, through faults and time travel."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("langchain.agents", exc_type=ImportError)

from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from chatstash import Store
from chatstash.langgraph import UpstashRedisSaver
from chatstash.local import LocalUpstash
from tests.langchain.middleware.support import COLOURS, SESSION, THREAD, TURN, WAYS, Watched, agent, memory
from tests.langchain.runnable.agents import weather
from tests.langchain.support import stored


@pytest.fixture(params=COLOURS)
def colour(request: pytest.FixtureRequest) -> Any:
    return COLOURS[request.param]


class Delegating(Watched):
    """Gives the question to a subagent, once."""

    def _reply(self, messages: Any) -> AIMessage:
        self.sent.append(list(messages))
        if messages[-1].type != "human":
            return AIMessage("Done.")
        if "alone" in messages[-1].content:
            return AIMessage("By the subagent.")
        task = {"description": "Do it alone.", "subagent_type": "general-purpose"}
        return AIMessage("", tool_calls=[{"name": "task", "args": task, "id": f"call_{len(self.sent)}"}])


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_deep_agent_stores_its_turns_and_not_those_of_subagents(
    upstash: LocalUpstash, colour: Any, checkpointed: bool
) -> None:
    deepagents = pytest.importorskip("deepagents")
    model = Delegating()
    saver = InMemorySaver() if checkpointed else None
    asked = deepagents.create_deep_agent(model, [weather], middleware=[memory(upstash)], checkpointer=saver)
    for turn in (1, 2):
        colour(asked, {"messages": f"Do {turn}."}, THREAD if checkpointed else SESSION)
        whole = [("human", "Do {}."), ("ai", ""), ("tool", "By the subagent."), ("ai", "Done.")]
        assert stored(upstash) == [(kind, text.format(n)) for n in range(1, turn + 1) for kind, text in whole]
    assert [message for message in model.last if message[0] != "system"] == stored(upstash)[:-1]


def test_a_deep_agent_that_is_interrupted_stores_its_question(upstash: LocalUpstash, colour: Any) -> None:
    deepagents = pytest.importorskip("deepagents")
    model, saver = Watched(), InMemorySaver()
    for turn in (1, 2, 3):
        for value in ({"messages": "weather?"}, Command(resume={"decisions": [{"type": "approve"}]})):
            asked = deepagents.create_deep_agent(
                model, [weather], middleware=[memory(upstash)], interrupt_on={"weather": True}, checkpointer=saver
            )
            colour(asked, value, THREAD)
        assert [kind for kind, _ in stored(upstash)] == TURN * turn
        assert [message for message in model.last if message[0] != "system"] == stored(upstash)[:-1]


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream messages", "astream values"])
def test_it_works_beside_the_checkpointer_of_this_package(upstash: LocalUpstash, way: str) -> None:
    model = Watched()
    with Store(upstash.url, upstash.token) as store:
        asked = agent(upstash, model=model, checkpointer=UpstashRedisSaver(store=store))
        for turn in (1, 2, 3):
            WAYS[way](asked, {"messages": "weather?"}, THREAD)
            assert [kind for kind, _ in stored(upstash)] == TURN * turn
            assert model.last == stored(upstash)[:-1]


@pytest.mark.parametrize(
    ("decision", "said"),
    [
        ({"type": "approve"}, "sunny in Rome"),
        ({"type": "reject", "message": "No."}, "No."),
        ({"type": "edit", "edited_action": {"name": "weather", "args": {"city": "Oslo"}}}, "sunny in Oslo"),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_each_decision_of_a_person_is_stored(upstash: LocalUpstash, colour: Any, decision: Any, said: str) -> None:
    asking = HumanInTheLoopMiddleware(interrupt_on={"weather": True})
    with Store(upstash.url, upstash.token) as store:
        saver = UpstashRedisSaver(store=store)
        model = Watched()
        for turn in (1, 2):
            colour(agent(upstash, asking, model=model, checkpointer=saver), {"messages": "weather?"}, THREAD)
            resume = Command(resume={"decisions": [decision]})
            colour(agent(upstash, asking, model=model, checkpointer=saver), resume, THREAD)
            assert [kind for kind, _ in stored(upstash)] == TURN * turn
            assert said in str(stored(upstash)[-2][1])


@pytest.mark.parametrize("fault", ["reply_lost", "request_lost", "applied_late", "server_error", "reset"])
@pytest.mark.parametrize("config", [SESSION, THREAD])
def test_a_turn_is_stored_once_through_faults(upstash: LocalUpstash, colour: Any, fault: Any, config: Any) -> None:
    asked = agent(upstash, checkpointer=InMemorySaver() if config is THREAD else None)
    for turn in (1, 2):
        upstash.faults.add(fault, probability=0.5, times=3)
        colour(asked, {"messages": "weather?"}, config)
        upstash.faults.clear()
        assert [kind for kind, _ in stored(upstash)] == TURN * turn


def test_an_answer_that_is_generated_again_is_appended(upstash: LocalUpstash, colour: Any) -> None:
    model = Watched()
    asked = agent(upstash, model=model, checkpointer=InMemorySaver())
    for question in ("ok 1", "ok 2"):
        colour(asked, {"messages": question}, THREAD)
    earlier = next(state for state in asked.get_state_history(THREAD) if state.next == ("model",))
    colour(asked, None, {"configurable": {**earlier.config["configurable"], "session_id": "s"}})
    assert model.last == stored(upstash)[:3]
    assert [kind for kind, _ in stored(upstash)] == ["human", "ai", "human", "ai", "ai"]
    colour(asked, {"messages": "ok 3"}, THREAD)
    assert [kind for kind, _ in stored(upstash)] == ["human", "ai", "human", "ai", "ai", "human", "ai"]
