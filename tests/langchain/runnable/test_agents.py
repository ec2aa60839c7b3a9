"""`with_history` around agents of LangChain 1: messages are stored once, with any middleware and stream mode."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, RunnablePassthrough
from langchain_core.tools import tool
from pydantic import BaseModel

from chatstash import ReplyNotStored, with_history
from chatstash.local import LocalUpstash
from tests.langchain.support import CONFIG, collect, histories, history, stored

if int(version("langchain-core").partition(".")[0]) < 1:
    # Elsewhere a missing langchain is an error: these tests must not vanish unseen.
    pytest.skip("agents of LangChain 1 need langchain-core 1", allow_module_level=True)

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, HumanInTheLoopMiddleware
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from tests.langchain.runnable.agents import KEYS, MIDDLEWARE, WHOLE, Scripted, agent, weather

QUESTIONS = [f"What is the weather {n}? Write to ann{n}@example.org" for n in range(5)]
TURN = ["human", "ai", "tool", "ai"]


def _chain(upstash: LocalUpstash, runnable: Any, **options: Any) -> Any:
    return with_history(runnable, histories(upstash), **{**KEYS, **options})


MODES: list[dict[str, Any]] = [
    {},
    {"stream_mode": "values"},
    {"stream_mode": "updates", "subgraphs": True},
    {"stream_mode": "messages"},
    {"stream_mode": "messages", "subgraphs": True},
    {"stream_mode": "custom"},
    {"stream_mode": ["values", "messages"]},
    {"stream_mode": ["updates", "custom"], "subgraphs": True},
]
WAYS: dict[str, Callable[[Any, Any], Any]] = {
    "invoke": lambda chain, value: chain.invoke(value, CONFIG),
    "ainvoke": lambda chain, value: asyncio.run(chain.ainvoke(value, CONFIG)),
    "invoke, updates": lambda chain, value: chain.invoke(value, CONFIG, stream_mode="updates"),
    "astream_events": lambda chain, value: asyncio.run(collect(chain.astream_events(value, CONFIG, version="v2"))),
}
for _mode in MODES:
    WAYS[f"stream {_mode}"] = lambda chain, value, more=_mode: list(chain.stream(value, CONFIG, **more))
    WAYS[f"astream {_mode}"] = lambda chain, value, more=_mode: asyncio.run(
        collect(chain.astream(value, CONFIG, **more))
    )


@pytest.mark.parametrize(
    ("middleware", "way"),
    [
        *(("all", way) for way in WAYS),
        *(
            (middleware, way)
            for middleware in MIDDLEWARE
            if middleware != "all"
            for way in ("invoke", "stream {'stream_mode': 'messages'}")
        ),
    ],
)
def test_five_runs_store_their_messages_once(upstash: LocalUpstash, middleware: str, way: str) -> None:
    chain = _chain(upstash, agent(middleware))
    for turn, question in enumerate(QUESTIONS, 1):
        before = upstash.stats
        WAYS[way](chain, {"messages": question})
        spent = upstash.stats - before
        assert (spent.requests, spent.commands) == (2, 3)
        said = stored(upstash)
        assert [kind for kind, _ in said] == TURN * turn
        assert said[-3:] == [("ai", ""), ("tool", "sunny in Rome"), ("ai", "It is sunny today.")]
    assert [text for kind, text in said if kind == "human"] == QUESTIONS


@pytest.mark.parametrize("middleware", MIDDLEWARE)
def test_several_calls_of_a_run_are_stored_even_if_middleware_trims_them(
    upstash: LocalUpstash, middleware: str
) -> None:
    chain = _chain(upstash, agent(middleware, calls=3))
    for turn in (1, 2):
        chain.invoke({"messages": f"weather {turn}?"}, CONFIG)
        stored = history(upstash).messages
        assert [message.type for message in stored] == ["human", *["ai", "tool"] * 3, "ai"] * turn
    calls = [call["id"] for message in stored if isinstance(message, AIMessage) for call in message.tool_calls]
    assert calls == [message.tool_call_id for message in stored if isinstance(message, ToolMessage)]


@pytest.mark.parametrize("middleware", MIDDLEWARE)
def test_with_store_rewritten_a_question_is_stored_as_middleware_rewrote_it(
    upstash: LocalUpstash, middleware: str
) -> None:
    chain = _chain(upstash, agent(middleware), store_rewritten=True)
    for question in QUESTIONS:
        chain.invoke({"messages": question}, CONFIG)
    forms = {"pii": "[REDACTED_EMAIL]", "all": "[REDACTED_EMAIL]", "copies": "ann{n} at example.org"}
    address = forms.get(middleware, "ann{n}@example.org")
    questions = [text for kind, text in stored(upstash) if kind == "human"]
    assert questions == [f"What is the weather {n}? Write to {address.format(n=n)}" for n in range(5)]


@pytest.mark.parametrize("way", ["invoke", "stream {'stream_mode': 'messages'}", "astream_events"])
@pytest.mark.parametrize("keep", [None, 2])
@pytest.mark.parametrize("form", [dict, lambda **message: (message["role"], message["content"])])
def test_a_resent_transcript_is_stored_once(upstash: LocalUpstash, form: Any, keep: int | None, way: str) -> None:
    chain = _chain(upstash, agent("all"))
    shown: list[Any] = []
    for question in ("weather?", "ok", "ok"):
        shown.append(form(role="user", content=question))
        WAYS[way](chain, {"messages": shown if keep is None else shown[-keep:]})
        shown.append(form(role="assistant", content=stored(upstash)[-1][1]))
    assert stored(upstash) == [*WHOLE, ("ai", "It is sunny today."), *[("human", "ok"), ("ai", "It is so.")] * 2]


@pytest.mark.parametrize("window", [1, 2, 3])
def test_a_resent_transcript_may_be_longer_than_the_window(upstash: LocalUpstash, window: int) -> None:
    chain = with_history(agent(), histories(upstash, read_last=window), **KEYS)
    shown: list[Any] = []
    for _ in range(3):
        shown.append(("user", "ok"))
        shown.append(("assistant", chain.invoke({"messages": shown}, CONFIG)["messages"][-1].content))
    assert stored(upstash) == [("human", "ok"), ("ai", "It is so.")] * 3


STEPS: dict[str, Callable[[Any], Any]] = {
    "last of a sequence": lambda inner: RunnableLambda(lambda value: value) | inner,
    "called by a function": lambda inner: RunnableLambda(lambda value: inner),
}
BOUND: dict[str, Callable[[Any], Any]] = {
    "with fallbacks": lambda inner: inner.with_fallbacks([inner]),
    "with retry": lambda inner: inner.with_retry().with_config(run_name="agent"),
}


@pytest.mark.parametrize(
    ("wrap", "mode"),
    [
        *((wrap, {}) for wrap in STEPS.values()),
        *((wrap, {"stream_mode": mode}) for wrap in BOUND.values() for mode in ("values", "updates", "messages")),
    ],
)
def test_an_agent_may_be_wrapped(upstash: LocalUpstash, wrap: Any, mode: dict[str, Any]) -> None:
    chain = _chain(upstash, wrap(agent()))
    for _ in range(2):
        list(chain.stream({"messages": "weather?"}, CONFIG, **mode))
    assert stored(upstash) == [*WHOLE, ("ai", "It is sunny today.")] * 2


def test_messages_of_an_agent_within_a_tool_are_not_stored(upstash: LocalUpstash) -> None:
    @tool
    def weather(city: str) -> str:
        """Ask another agent."""
        return str(agent().invoke({"messages": "the weather there?"})["messages"][-1].content)

    chain = _chain(upstash, create_agent(Scripted(), [weather]))
    for mode in MODES:
        list(chain.stream({"messages": "weather?"}, CONFIG, **mode))
    assert [kind for kind, _ in stored(upstash)] == TURN * len(MODES)


def test_it_runs_within_a_node_of_a_graph(upstash: LocalUpstash) -> None:
    chain = _chain(upstash, agent())

    def answer(state: Any, config: RunnableConfig) -> Any:
        asked = {"messages": state["messages"][-1].content}
        inner: RunnableConfig = {**config, "configurable": {**config["configurable"], "session_id": "s"}}
        return {"messages": chain.invoke(asked, inner)["messages"][-1:]}

    graph = StateGraph(MessagesState)
    graph.add_node("answer", answer)
    graph.add_edge(START, "answer")
    for _ in range(2):
        list(graph.compile().stream({"messages": [HumanMessage("weather?")]}, stream_mode="messages"))
    assert stored(upstash) == [*WHOLE, ("ai", "It is sunny today.")] * 2


def test_an_interrupted_graph_is_resumed_by_a_command(upstash: LocalUpstash) -> None:
    asking = HumanInTheLoopMiddleware(interrupt_on={"weather": True})
    chain = _chain(upstash, create_agent(Scripted(), [weather], middleware=[asking], checkpointer=InMemorySaver()))
    config: RunnableConfig = {"configurable": {"session_id": "s", "thread_id": "t"}}
    for turn in (1, 2):
        assert "__interrupt__" in chain.invoke({"messages": "weather?"}, config)
        assert [kind for kind, _ in stored(upstash)] == [*TURN * (turn - 1), "human", "ai"]
        list(chain.stream(Command(resume={"decisions": [{"type": "approve"}]}), config))
        assert stored(upstash) == [*WHOLE, ("ai", "It is sunny today.")] * turn


def test_structured_output_is_stored_as_its_messages(upstash: LocalUpstash) -> None:
    class City(BaseModel):
        """A city."""

        name: str

    class Naming(Scripted):
        def _reply(self, messages: Any) -> AIMessage:
            call = {"name": "City", "args": {"name": "Rome"}, "id": f"call_{len(messages)}"}
            return AIMessage("", tool_calls=[call])

    chain = _chain(upstash, create_agent(Naming(), [], response_format=City))
    for _ in range(2):
        assert chain.invoke({"messages": "which?"}, CONFIG)["structured_response"] == City(name="Rome")
    assert [kind for kind, _ in stored(upstash)] == ["human", "ai", "tool"] * 2


class Replaced(TypedDict):
    """A state whose messages are replaced, not merged, and have no ids."""

    messages: list[Any]


class Added(TypedDict):
    """A state that adds messages without ids."""

    messages: Annotated[list[Any], operator.add]


@pytest.mark.parametrize("state", [Replaced, Added])
@pytest.mark.parametrize("mode", [{}, {"stream_mode": "values"}, {"stream_mode": "custom"}])
def test_equal_messages_are_stored_each_time(upstash: LocalUpstash, state: Any, mode: dict[str, Any]) -> None:
    def answer(given: Any) -> Any:
        get_stream_writer()("progress")
        whole = [*given["messages"], AIMessage("ok")]
        return {"messages": whole if state is Replaced else whole[-1:]}

    graph = StateGraph(state)
    graph.add_node("answer", answer)
    graph.add_edge(START, "answer")
    chain = _chain(upstash, graph.compile())
    for _ in range(3):
        list(chain.stream({"messages": "ok"}, CONFIG, **mode))
    assert stored(upstash) == [("human", "ok"), ("ai", "ok")] * 3


@pytest.mark.parametrize("mode", ["values", "updates", "messages", "custom"])
def test_the_reply_of_a_graph_may_be_a_text_in_its_state(upstash: LocalUpstash, mode: Any) -> None:
    class Asked(TypedDict):
        question: str
        history: list[Any]
        answer: str

    graph = StateGraph(Asked)
    graph.add_node("answer", lambda given: {"answer": f"{len(given['history'])} before"})
    graph.add_edge(START, "answer")
    keys = {"input_messages_key": "question", "history_messages_key": "history", "output_messages_key": "answer"}
    chain = _chain(upstash, graph.compile(), **keys)
    for _ in range(2):
        list(chain.stream({"question": "why?"}, CONFIG, stream_mode=mode))
    assert stored(upstash) == [("human", "why?"), ("ai", "0 before"), ("human", "why?"), ("ai", "2 before")]


def test_an_answer_that_middleware_removes_is_not_stored(upstash: LocalUpstash) -> None:
    class Guarding(AgentMiddleware):
        def after_model(self, state: Any, runtime: Any) -> Any:
            message = state["messages"][-1]
            blocked = [RemoveMessage(message.id), AIMessage("No.")]
            return None if message.tool_calls else {"messages": blocked}

    chain = _chain(upstash, create_agent(Scripted(), [weather], middleware=[Guarding()]))
    for _ in range(2):
        list(chain.stream({"messages": "weather?"}, CONFIG))
    assert stored(upstash) == [*WHOLE, ("ai", "No.")] * 2


class Shouting(Runnable[Any, Any]):
    """Passes on the text of an agent in upper case."""

    def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> str:  # noqa: A002
        return str(agent().invoke(input, config)["messages"][-1].content).upper()

    def stream(self, input: Any, config: Any = None, **kwargs: Any) -> Any:  # noqa: A002
        for chunk, _ in agent().stream(input, config, stream_mode="messages"):
            if isinstance(chunk, AIMessageChunk) and chunk.text:
                yield str(chunk.text).upper()


def test_the_output_is_stored_and_not_that_of_an_agent_within(upstash: LocalUpstash) -> None:
    chain = _chain(upstash, Shouting())
    chain.invoke({"messages": "weather?"}, CONFIG)
    list(chain.stream({"messages": "weather?"}, CONFIG))
    parts = chain.stream({"messages": "weather?"}, CONFIG)
    assert [next(parts), next(parts)] == ["IT", " IS"]
    parts.close()
    answers = [text for kind, text in stored(upstash) if kind == "ai"]
    assert answers == ["IT IS SUNNY TODAY.", "IT IS SUNNY TODAY.", "IT IS"]


def test_an_output_with_several_keys_needs_the_key_of_the_reply(upstash: LocalUpstash) -> None:
    with pytest.raises(ReplyNotStored, match="output_messages_key"):
        _chain(upstash, RunnablePassthrough.assign(answer=lambda _: "so.")).invoke({"messages": "why?"}, CONFIG)
