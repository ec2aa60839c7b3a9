"""Which messages `with_history` stores, compared with the old way, and what a run costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    message_chunk_to_message,
)
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import AddableDict, Runnable, RunnableLambda, RunnablePassthrough
from langchain_core.runnables.history import RunnableWithMessageHistory

from chatstash import with_history
from chatstash.local import LocalUpstash
from tests.langchain.support import (
    CONFIG,
    EARLIER,
    IN_DICT,
    PROMPT,
    QUESTION,
    TOOL,
    WAYS,
    answering,
    ask,
    histories,
    history,
    model,
    stored,
    streaming,
)

Wrap = Callable[..., Runnable[Any, Any]]


ALL = ChatPromptTemplate.from_messages([("system", "Be terse."), MessagesPlaceholder("messages")])


OUT = {**IN_DICT, "output_messages_key": "answer"}


FORMS: dict[str, tuple[Callable[[], Runnable[Any, Any]], Any, dict[str, str]]] = {
    "model, str": (model, "why?", {}),
    "model, message": (model, HumanMessage("why?", id="h1"), {}),
    "model, messages": (model, [SystemMessage("Be kind."), HumanMessage("why?", name="Ann")], {}),
    "model, tuple of messages": (model, (HumanMessage("why?"), HumanMessage("how?")), {}),
    "model, list in a list": (model, [[HumanMessage("why?")]], {}),
    "model, pairs": (model, [("system", "Be kind."), ("human", "why?")], {}),
    "model, dict with one key": (model, {"anything": "why?"}, {}),
    "model, dict with the usual key": (model, {"input": [HumanMessage("why?")], "other": 1}, {}),
    "model, a tool's result": (model, TOOL[1:], {}),
    "chain, str": (lambda: model() | StrOutputParser(), "why?", {}),
    "function, str": (lambda: answering("so."), "why?", {}),
    "function, message": (lambda: answering(AIMessage("so.", id="a1")), "why?", {}),
    "function, messages": (lambda: answering([*TOOL, AIMessage("so.")]), "why?", {}),
    "function, tuple": (lambda: answering((*TOOL, AIMessage("so."))), "why?", {}),
    "function, no messages": (lambda: answering([]), "why?", {}),
    "function, dict with one key": (lambda: answering({"anything": "so."}), "why?", {}),
    "function, dict with the usual key": (lambda: answering({"output": AIMessage("so."), "cost": 1}), "why?", {}),
    "function, output key": (
        lambda: answering({"answer": [AIMessage("so.")], "output": "no"}), "why?", {"output_messages_key": "answer"},
    ),
    "prompt, all in one key": (
        lambda: ALL | model(), {"messages": [HumanMessage("why?")], "n": 1}, {"input_messages_key": "messages"},
    ),
    "prompt, all in one key, str": (lambda: ALL | model(), {"messages": "why?"}, {"input_messages_key": "messages"}),
    "prompt, history": (lambda: PROMPT | model(), QUESTION, IN_DICT),
    "prompt, history, the usual key": (
        lambda: RunnablePassthrough.assign(question=lambda given: given["input"]) | PROMPT | model(),
        {"input": "why?"}, {"history_messages_key": "history"},
    ),
    "prompt, history, message": (
        lambda: ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), MessagesPlaceholder("question")])
        | model(),
        {"question": [HumanMessage("why?", additional_kwargs={"n": 1})]}, IN_DICT,
    ),
    "prompt, history, output key": (
        lambda: RunnablePassthrough.assign(answer=PROMPT | model() | StrOutputParser()), QUESTION, OUT,
    ),
    "prompt, history, dict with one key": (
        lambda: (PROMPT | model()).with_config(run_name="x") | (lambda message: {"reply": message}), QUESTION, IN_DICT,
    ),
    "chunks, str": (lambda: streaming("s", "o", "."), "why?", {}),
    "chunks, dicts": (
        lambda: streaming(AddableDict(sources=["a"]), AddableDict(answer="s"), AddableDict(answer="o.")),
        "why?", {"output_messages_key": "answer"},
    ),
    "chunks, tool call": (
        lambda: streaming(
            AIMessageChunk("", id="a1", tool_call_chunks=[{"name": "w", "args": '{"ci', "id": "c", "index": 0}]),
            AIMessageChunk("", id="a1", tool_call_chunks=[{"name": None, "args": 'ty":1}', "id": None, "index": 0}]),
        ),
        "why?", {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", ["invoke", "astream"])
@pytest.mark.parametrize("form", FORMS)
def test_it_stores_what_the_old_way_stores(upstash: LocalUpstash, form: str, way: str) -> None:
    make, value, keys = FORMS[form]
    for session_id, wrap in (("old", RunnableWithMessageHistory), ("new", with_history)):
        history(upstash, session_id).add_messages(EARLIER)
        chain = wrap(make(), histories(upstash), **keys)
        for _ in range(2):
            assert ask(chain, value, way, {"configurable": {"session_id": session_id}})
    old, new = (history(upstash, session_id).messages for session_id in ("old", "new"))
    assert len(new) > len(EARLIER) + 1
    # The old way also stores a stream's chunks as they are, and a repeated prompt each time.
    whole = [message_chunk_to_message(message) for message in old]
    prompts = [message for message in whole if message.type == "system"]
    assert new == [message for message in whole if message.type != "system" or message is prompts[0]]


@pytest.mark.parametrize("form", ["model, str", "prompt, all in one key", "prompt, history"])
def test_the_model_gets_what_it_gets_the_old_way(upstash: LocalUpstash, form: str) -> None:
    make, value, keys = FORMS[form]
    history(upstash).add_messages(EARLIER)
    given: list[Any] = []

    class Watcher(BaseCallbackHandler):
        def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
            given.append(messages)

    for wrap in (RunnableWithMessageHistory, with_history):
        chain = wrap(make(), histories(upstash), **keys)
        ask(chain, value, config={**CONFIG, "callbacks": [Watcher()]})
        history(upstash).clear()
        history(upstash).add_messages(EARLIER)
    assert len(given) == 2
    assert given[0] == given[1]
    assert given[0][0][-1] == HumanMessage("why?")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("ttl", "cost"), [(60, (2, 3)), (None, (2, 2))])
def test_a_run_takes_two_requests(upstash: LocalUpstash, way: str, ttl: int | None, cost: tuple[int, int]) -> None:
    chain = with_history(model(), histories(upstash, ttl=ttl))
    for _ in range(2):
        before = upstash.stats
        ask(chain, "why?", way)
        spent = upstash.stats - before
        assert (spent.requests, spent.commands) == cost
    assert stored(upstash) == [("human", "why?"), ("ai", "It is so."), ("human", "why?"), ("ai", "And so on.")]


@pytest.mark.parametrize(("wrap", "kept"), [(RunnableWithMessageHistory, False), (with_history, True)])
def test_a_concurrent_run_does_not_lose_the_input(upstash: LocalUpstash, wrap: Wrap, kept: bool) -> None:
    def answer(_: Any) -> str:
        history(upstash).add_messages([HumanMessage("another's?"), AIMessage("another's.")])
        return "mine."

    ask(wrap(RunnableLambda(answer), histories(upstash)), "mine?")
    mine = [("human", "mine?")] if kept else []
    assert stored(upstash) == [("human", "another's?"), ("ai", "another's."), *mine, ("ai", "mine.")]


@pytest.mark.parametrize(("wrap", "comes_back"), [(RunnableWithMessageHistory, True), (with_history, False)])
def test_a_cleared_conversation_stays_cleared(upstash: LocalUpstash, wrap: Wrap, comes_back: bool) -> None:
    def answer(_: Any) -> str:
        history(upstash).clear()
        return "so."

    history(upstash).add_messages(EARLIER)
    ask(wrap(RunnableLambda(answer), histories(upstash)), "why?")
    earlier = [("human", "earlier?"), ("ai", "earlier.")] if comes_back else []
    assert stored(upstash) == [*earlier, ("human", "why?"), ("ai", "so.")]


@pytest.mark.parametrize("keys", [{}, {"input_messages_key": "messages"}, IN_DICT])
def test_an_input_that_repeats_the_conversation_is_stored_once(upstash: LocalUpstash, keys: dict[str, str]) -> None:
    given: list[Any] = []

    def answer(value: Any) -> str:
        given.append(value)
        return "so."

    history(upstash).add_messages(EARLIER)
    transcript = [*EARLIER, HumanMessage("why?")]
    value = {keys["input_messages_key"]: transcript} if keys else transcript
    ask(with_history(RunnableLambda(answer), histories(upstash), **keys), value)
    assert stored(upstash)[2:] == [("human", "why?"), ("ai", "so.")]
    if keys == IN_DICT:
        assert given == [{"question": [HumanMessage("why?")], "history": EARLIER}]
    else:
        assert given == [{"messages": transcript} if keys else transcript]


def test_a_question_that_repeats_the_only_message_is_new(upstash: LocalUpstash) -> None:
    history(upstash).add_user_message("Hello?")
    with_history(answering("Hi."), histories(upstash)).invoke("Hello?", CONFIG)
    assert stored(upstash) == [("human", "Hello?"), ("human", "Hello?"), ("ai", "Hi.")]


def test_an_output_that_repeats_the_input_is_stored_once(upstash: LocalUpstash) -> None:
    agent = RunnableLambda(lambda given: {"messages": [*given["messages"], *TOOL, AIMessage("so.")]})
    keys = {"input_messages_key": "messages", "output_messages_key": "messages"}
    chain = with_history(agent, histories(upstash), **keys)
    for question in ("why?", "how?"):
        ask(chain, {"messages": question})
    kinds = ["human", "ai", "tool", "ai"]
    assert [kind for kind, _ in stored(upstash)] == kinds * 2


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_any_history_works_and_is_read_and_written_once(way: str) -> None:
    calls: list[str] = []

    class InMemory:
        def __init__(self) -> None:
            self.kept: list[BaseMessage] = [*EARLIER]

        @property
        def messages(self) -> list[BaseMessage]:
            calls.append("read")
            return self.kept

        async def aget_messages(self) -> list[BaseMessage]:
            calls.append("aread")
            return self.kept

        def add_messages(self, messages: Any) -> None:
            calls.append("add")
            self.kept.extend(messages)

        async def aadd_messages(self, messages: Any) -> None:
            calls.append("aadd")
            self.kept.extend(messages)

    history = InMemory()
    ask(with_history(answering("so."), lambda _: history), "why?", way)
    assert calls == (["aread", "aadd"] if way.startswith("a") else ["read", "add"])
    assert history.kept == [*EARLIER, HumanMessage("why?"), AIMessage("so.")]


def test_the_history_key_of_an_input_is_overwritten(upstash: LocalUpstash) -> None:
    chain = with_history(PROMPT | model(), histories(upstash), history_messages_key="history")
    chain.invoke({"history": [HumanMessage("made up")], "question": "why?"}, CONFIG)
    assert stored(upstash) == [("human", "why?"), ("ai", "It is so.")]
