"""Real agents without a network: the saver as the checkpointer of `create_agent` and of deep agents."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("langgraph.graph", reason="langchain 1 is not installed; make test installs it")

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware, SummarizationMiddleware
from langchain.agents.structured_output import ToolStrategy
from langgraph.types import Command
from pydantic import BaseModel

from chatstash import Store, TypeNotAllowed
from chatstash.langgraph import UpstashRedisSaver
from chatstash.local import LocalUpstash
from tests.langchain.runnable.agents import Scripted, weather
from tests.langgraph.saver.tee import LockedReference, Tee

CONFIG: Any = {"configurable": {"thread_id": "t"}}
QUESTION: Any = {"messages": [("human", "What is the weather?")]}
TURN = ["human", "ai", "tool", "ai"]


def cold(upstash: LocalUpstash) -> UpstashRedisSaver:
    """A saver as a new process has it."""
    return UpstashRedisSaver(store=Store(upstash.url, upstash.token))


def agent(upstash: LocalUpstash, **options: Any) -> Any:
    return create_agent(Scripted(), [weather], checkpointer=cold(upstash), **options)


def types(state: Any) -> list[str]:
    return [message.type for message in state["messages"]]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_a_conversation_goes_on_in_other_processes(upstash: LocalUpstash, durability: Any) -> None:
    for number in range(1, 4):
        assert types(agent(upstash).invoke(QUESTION, CONFIG, durability=durability)) == TURN * number
    state = asyncio.run(agent(upstash).ainvoke(QUESTION, CONFIG, durability=durability))
    assert types(state) == TURN * 4


@pytest.mark.parametrize("mode", ["values", "updates", "messages", "debug", "checkpoints", "tasks"])
def test_streams(upstash: LocalUpstash, mode: Any) -> None:
    assert list(agent(upstash).stream(QUESTION, CONFIG, stream_mode=mode))

    async def stream() -> list[Any]:
        return [chunk async for chunk in agent(upstash).astream(QUESTION, CONFIG, stream_mode=mode)]

    assert asyncio.run(stream())
    assert types(agent(upstash).get_state(CONFIG).values) == TURN * 2


def test_a_person_approves_in_another_process(upstash: LocalUpstash) -> None:
    middleware = [HumanInTheLoopMiddleware(interrupt_on={"weather": True})]
    for decision, answer in (("approve", "sunny"), ("reject", "no")):
        config: Any = {"configurable": {"thread_id": decision}}
        assert "__interrupt__" in agent(upstash, middleware=middleware).invoke(QUESTION, config)
        assert agent(upstash, middleware=middleware).get_state(config).interrupts
        chosen: dict[str, str] = {"type": decision} | ({"message": "no"} if decision == "reject" else {})
        state = agent(upstash, middleware=middleware).invoke(Command(resume={"decisions": [chosen]}), config)
        assert types(state) == TURN
        assert answer in state["messages"][2].content.lower()


def test_time_travel(upstash: LocalUpstash) -> None:
    agent(upstash).invoke(QUESTION, CONFIG)
    agent(upstash).invoke(QUESTION, CONFIG)
    history = list(agent(upstash).get_state_history(CONFIG))
    first_end = next(state for state in reversed(history) if not state.next)
    fork = agent(upstash).invoke(QUESTION, first_end.config)
    assert types(fork) == TURN * 2
    again = next(state for state in history if state.next == ("tools",))
    assert types(agent(upstash).invoke(None, again.config))[-2:] == ["tool", "ai"]
    assert len(list(agent(upstash).get_state_history(CONFIG))) > len(history)
    edited = agent(upstash).update_state(CONFIG, {"messages": [("human", "edited")]})
    assert agent(upstash).get_state(edited).values["messages"][-1].content == "edited"


class Answer(BaseModel):
    """A structured answer."""

    text: str


def test_a_structured_answer_is_loaded_only_if_its_type_is_allowed(upstash: LocalUpstash) -> None:
    class Structured(Scripted):
        def _reply(self, messages: Any) -> Any:
            from langchain_core.messages import AIMessage

            return AIMessage("", tool_calls=[{"name": "Answer", "args": {"text": "sunny"}, "id": "s"}])

    def app(saver: UpstashRedisSaver) -> Any:
        return create_agent(Structured(), [], checkpointer=saver, response_format=ToolStrategy(Answer))

    assert app(cold(upstash)).invoke(QUESTION, CONFIG)["structured_response"] == Answer(text="sunny")
    with pytest.raises(TypeNotAllowed, match="Answer"):
        app(cold(upstash)).get_state(CONFIG)
    allowing = UpstashRedisSaver(upstash.url, upstash.token, allowed_types=[Answer])
    assert app(allowing).get_state(CONFIG).values["structured_response"] == Answer(text="sunny")


def test_summaries(upstash: LocalUpstash) -> None:
    middleware = [SummarizationMiddleware(Scripted(), trigger=("messages", 6), keep=("messages", 2))]
    for _ in range(5):
        state = agent(upstash, middleware=middleware).invoke(QUESTION, CONFIG)
    assert len(state["messages"]) < 12
    assert agent(upstash).get_state(CONFIG).values["messages"] == state["messages"]


@pytest.mark.parametrize("in_async", [False, True])
def test_a_deep_agent(upstash: LocalUpstash, in_async: bool) -> None:
    deepagents = pytest.importorskip("deepagents")
    tee = Tee(UpstashRedisSaver(upstash.url, upstash.token), LockedReference())
    app = deepagents.create_deep_agent(Scripted(), [weather], checkpointer=tee)
    sizes = []
    for number in range(1, 7):
        before = upstash.stats
        state = asyncio.run(app.ainvoke(QUESTION, CONFIG)) if in_async else app.invoke(QUESTION, CONFIG)
        sizes.append((upstash.stats - before).bytes_received)
        assert types(state) == TURN * number
        tee.saver = cold(upstash)
    assert sizes[-1] < 1.2 * sizes[1]
    assert len(list(app.get_state_history(CONFIG))) > 20
    tee.saver.prune(["t"])
    reopened = deepagents.create_deep_agent(Scripted(), [weather], checkpointer=cold(upstash))
    assert types(reopened.get_state(CONFIG).values) == TURN * 6
    assert types(reopened.invoke(QUESTION, CONFIG)) == TURN * 7


def test_subgraphs_keep_their_own_state(upstash: LocalUpstash) -> None:
    inner = create_agent(Scripted(), [weather], name="inner", checkpointer=True)

    def outer() -> Any:
        from langgraph.graph import START, MessagesState, StateGraph

        graph: Any = StateGraph(MessagesState)
        graph.add_node("inner", inner)
        graph.add_edge(START, "inner")
        return graph.compile(checkpointer=cold(upstash))

    outer().invoke(QUESTION, CONFIG)
    outer().invoke(QUESTION, CONFIG)
    state = outer().get_state(CONFIG, subgraphs=True)
    assert types(state.values)[:4] == TURN
    saver = cold(upstash)
    assert {
        one.config["configurable"]["checkpoint_ns"] for one in saver.list({"configurable": {"thread_id": "t"}})
    } == {"", "inner"}
    saver.delete_thread("t")
    assert outer().get_state(CONFIG).values == {}
