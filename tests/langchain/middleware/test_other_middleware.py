"""Memory beside other middleware of LangChain, in either order, and structured output."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("langchain.agents", exc_type=ImportError)

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelCallLimitMiddleware, PIIMiddleware
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import BaseModel

from chatstash.local import LocalUpstash
from tests.langchain.middleware.support import COLOURS, SESSION, THREAD, TURN, Watched, agent, memory
from tests.langchain.runnable.agents import MIDDLEWARE, summarising, weather
from tests.langchain.support import history, stored

QUESTIONS = [f"What is the weather {n}? Write to ann{n}@example.org" for n in range(3)]


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("name", [name for name in MIDDLEWARE if name != "plain"])
def test_messages_are_stored_once_in_any_order_of_middleware(
    upstash: LocalUpstash, name: str, is_first: bool, checkpointed: bool
) -> None:
    others = MIDDLEWARE[name]()
    middleware = [memory(upstash), *others] if is_first else [*others, memory(upstash)]
    if name == "instructions" and not is_first:
        pytest.skip("what earlier middleware adds to the input counts as input")
    model = Watched()
    saver = InMemorySaver() if checkpointed else None
    asked = create_agent(model, [weather], middleware=middleware, checkpointer=saver)
    for turn, question in enumerate(QUESTIONS, 1):
        list(COLOURS.values())[turn % 2](asked, {"messages": question}, THREAD if checkpointed else SESSION)
        assert [kind for kind, _ in stored(upstash)] == TURN * turn
        questions = [text for kind, text in model.last if kind == "human" and "What is" in str(text)]
        assert len(questions) == len(set(questions))
    said = [text.partition("?")[0] for kind, text in stored(upstash) if kind == "human"]
    assert said == [question.partition("?")[0] for question in QUESTIONS]
    assert {text for kind, text in stored(upstash) if kind == "tool"} == {"sunny in Rome"}


@pytest.mark.parametrize("name", MIDDLEWARE)
@pytest.mark.parametrize("checkpointed", [False, True])
def test_tool_calls_that_middleware_removes_during_the_run_are_stored(
    upstash: LocalUpstash, name: str, checkpointed: bool
) -> None:
    saver = InMemorySaver() if checkpointed else None
    asked = agent(upstash, *MIDDLEWARE[name](), model=Watched(calls=3), checkpointer=saver)
    for turn in (1, 2):
        asked.invoke({"messages": f"weather {turn}?"}, THREAD if checkpointed else SESSION)
        found = history(upstash).messages
        assert [message.type for message in found] == ["human", *["ai", "tool"] * 3, "ai"] * turn
    assert [text for kind, text in stored(upstash) if kind == "human"] == ["weather 1?", "weather 2?"]
    calls = [call["id"] for message in found if isinstance(message, AIMessage) for call in message.tool_calls]
    assert calls == [message.tool_call_id for message in found if isinstance(message, ToolMessage)]


class LastOnly(AgentMiddleware):
    """Keeps one message."""

    def before_model(self, state: Any, runtime: Any) -> Any:
        return {"messages": [RemoveMessage(message.id) for message in state["messages"][:-1]]}


class Twice(Watched):
    """Calls the tool twice at once."""

    def _reply(self, messages: Any) -> AIMessage:
        reply = super()._reply(messages)
        more = [
            {**call, "id": f"{call['id']}_{city}", "args": {"city": city}} for call in reply.tool_calls for city in "AB"
        ]
        return reply.model_copy(update={"tool_calls": more})


def test_parallel_results_that_middleware_removes_are_stored(upstash: LocalUpstash) -> None:
    for turn in (1, 2):
        agent(upstash, LastOnly(), model=Twice()).invoke({"messages": f"weather {turn}?"}, SESSION)
    said = [
        message
        for turn in (1, 2)
        for message in [f"weather {turn}?", "", "sunny in A", "sunny in B", "It is sunny today."]
    ]
    assert [text for _, text in stored(upstash)] == said


@pytest.mark.parametrize("colour", COLOURS)
def test_what_pii_redacts_is_not_stored(upstash: LocalUpstash, colour: str) -> None:
    pii = PIIMiddleware("email", apply_to_input=True, apply_to_output=True, apply_to_tool_results=True)
    for question in QUESTIONS:
        COLOURS[colour](agent(upstash, pii), {"messages": question})
    assert "example.org" not in str(history(upstash).messages)
    assert [text for kind, text in stored(upstash) if kind == "human"] == [
        f"What is the weather {n}? Write to [REDACTED_EMAIL]" for n in range(3)
    ]


@pytest.mark.parametrize("colour", COLOURS)
def test_a_summary_of_a_thread_stands_for_its_earlier_messages(upstash: LocalUpstash, colour: str) -> None:
    history(upstash).add_user_message("Before the thread.")
    model = Watched()
    asked = agent(upstash, summarising(6, 2), model=model, checkpointer=InMemorySaver())
    for question in QUESTIONS:
        COLOURS[colour](asked, {"messages": question}, THREAD)
    assert [kind for kind, _ in stored(upstash)] == ["human", *TURN * len(QUESTIONS)]
    shown = [str(text) for _, text in model.last]
    assert shown[0] == "Before the thread."
    assert shown[1].startswith("Here is a summary")
    assert set(QUESTIONS[:-1]).isdisjoint(shown)


def test_a_message_that_others_store_meanwhile_is_shown_in_its_place(upstash: LocalUpstash) -> None:
    model = Watched()
    asked = agent(upstash, model=model, checkpointer=InMemorySaver())
    for turn in range(3):
        asked.invoke({"messages": f"ok {turn}"}, THREAD)
        history(upstash).add_ai_message(f"By another, {turn}.")
    said = [text for turn in range(3) for text in (f"ok {turn}", "It is so.", f"By another, {turn}.")]
    assert [text for _, text in stored(upstash)] == said
    assert [text for _, text in model.last] == said[:-2]


def test_an_answer_that_middleware_replaces_is_not_stored(upstash: LocalUpstash) -> None:
    class Guarding(AgentMiddleware):
        def after_model(self, state: Any, runtime: Any) -> Any:
            message = state["messages"][-1]
            return None if message.tool_calls else {"messages": [RemoveMessage(message.id), AIMessage("No.")]}

    for _ in range(2):
        agent(upstash, Guarding()).invoke({"messages": "weather?"}, SESSION)
    assert stored(upstash) == [("human", "weather?"), ("ai", ""), ("tool", "sunny in Rome"), ("ai", "No.")] * 2


def test_a_limit_that_ends_the_run_is_stored(upstash: LocalUpstash) -> None:
    limit = ModelCallLimitMiddleware(run_limit=1, exit_behavior="end")
    agent(upstash, limit).invoke({"messages": "weather?"}, SESSION)
    assert [kind for kind, _ in stored(upstash)] == TURN


class City(BaseModel):
    """A city."""

    name: str


class Naming(Watched):
    """Names a city, by a call where there are tools for it."""

    by_call: bool = True

    def _reply(self, messages: Any) -> AIMessage:
        self.sent.append(messages)
        call = {"name": "City", "args": {"name": "Rome"}, "id": f"call_{len(messages)}"}
        return AIMessage("", tool_calls=[call]) if self.by_call else AIMessage('{"name": "Rome"}')


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize(
    ("response_format", "kinds"),
    [(ToolStrategy(City), ["human", "ai", "tool"]), (ProviderStrategy(City), ["human", "ai"])],
)
@pytest.mark.parametrize("tools", [[], [weather]])
def test_structured_output_is_returned_and_its_messages_stored(
    upstash: LocalUpstash, colour: str, response_format: Any, kinds: list[str], tools: Any
) -> None:
    model = Naming(by_call=isinstance(response_format, ToolStrategy))
    asked = agent(upstash, model=model, tools=tools, response_format=response_format)
    for turn in (1, 2):
        done = COLOURS[colour](asked, {"messages": "which?"})
        assert done["structured_response"] == City(name="Rome")
        assert set(done) == {"messages", "structured_response"}
        assert [kind for kind, _ in stored(upstash)] == kinds * turn
        assert [kind for kind, _ in model.last] == [*kinds * (turn - 1), "human"]


def test_a_tool_may_answer_with_a_command(upstash: LocalUpstash) -> None:
    @tool
    def weather(city: str) -> Any:
        """Update the state."""
        return Command(update={"messages": [ToolMessage("by command", tool_call_id="call_1")]})

    agent(upstash, tools=[weather]).invoke({"messages": "weather?"}, SESSION)
    assert [kind for kind, _ in stored(upstash)] == TURN
    assert ("tool", "by command") in stored(upstash)


def test_the_system_prompt_is_not_stored(upstash: LocalUpstash) -> None:
    for _ in range(2):
        agent(upstash, system_prompt="Be kind.").invoke({"messages": [HumanMessage("ok")]}, SESSION)
    assert stored(upstash) == [("human", "ok"), ("ai", "It is so.")] * 2
