"""Exporting threads to conversations: each message once, also the second time, and after an import."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("langgraph.graph")

from hypothesis import HealthCheck, given, settings
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver

import chatstash.langgraph as subject
from chatstash import ConcurrentTurn, Store, UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash
from tests.conftest import Call
from tests.langgraph.migration.support import TURNS, config_of, contents, copies
from tests.strategies import messages

History = UpstashRedisChatMessageHistory


@pytest.mark.parametrize("kind", ["list", "delta"])
def test_each_message_is_appended_once(saver: Any, history: History, echo: Any, call: Call, kind: str) -> None:
    app = echo(kind)
    app.invoke({"messages": copies(TURNS)}, config_of("t"))
    first = call(subject, "export_history", saver, "t", history)
    assert (first.messages, first.added, len(first.record_ids)) == (len(TURNS) + 1, len(TURNS) + 1, len(TURNS) + 1)
    assert history.messages == app.get_state(config_of("t")).values["messages"]
    assert call(subject, "export_history", saver, "t", history).added == 0
    app.invoke({"messages": [HumanMessage("More")]}, config_of("t"))
    assert call(subject, "export_history", saver, "t", history).added == 2
    assert history.messages == app.get_state(config_of("t")).values["messages"]


@pytest.mark.parametrize("kind", ["list", "delta"])
def test_a_conversation_goes_there_and_back(saver: Any, history: History, echo: Any, call: Call, kind: str) -> None:
    history.add_messages(TURNS)
    call(subject, "import_history", history, saver, "t")
    assert call(subject, "export_history", saver, "t", history).added == 0
    echo(kind).invoke({"messages": [HumanMessage("More")]}, config_of("t"))
    assert call(subject, "export_history", saver, "t", history).added == 2
    assert contents(history.messages) == contents([*TURNS, HumanMessage("More"), AIMessage("I see 8.")])
    assert call(subject, "import_history", history, saver, "t").status == "unchanged"


def test_another_conversation_gets_all_of_them(saver: Any, history: History, store: Store, call: Call) -> None:
    history.add_messages(TURNS)
    call(subject, "import_history", history, saver, "t")
    copy = History("copy", store=store)
    assert call(subject, "export_history", saver, "t", copy).added == len(TURNS)
    assert call(subject, "export_history", saver, "t", copy).added == 0
    assert contents(copy.messages) == contents(TURNS)


def test_messages_without_ids_are_told_apart(saver: Any, history: History, call: Call) -> None:
    from typing import TypedDict

    from langgraph.graph import START, StateGraph

    graph = StateGraph(TypedDict("State", {"chat": list}))  # type: ignore[arg-type]
    graph.add_node("say", lambda state: {"chat": [HumanMessage("ok"), HumanMessage("ok")]})
    graph.add_edge(START, "say")
    graph.compile(checkpointer=saver).invoke({"chat": []}, config_of("t"))
    assert call(subject, "export_history", saver, "t", history, messages_key="chat").added == 2
    assert call(subject, "export_history", saver, "t", history, messages_key="chat").added == 0


def test_a_dry_run_and_a_thread_that_does_not_exist_store_nothing(
    saver: Any, history: History, echo: Any, call: Call
) -> None:
    assert call(subject, "export_history", saver, "none", history) == subject.ExportResult(0)
    echo().invoke({"messages": copies(TURNS)}, config_of("t"))
    assert call(subject, "export_history", saver, "t", history, dry_run=True).added == len(TURNS) + 1
    assert history.messages == []


def test_who_writes_meanwhile_is_not_overtaken(saver: Any, history: History, echo: Any) -> None:
    from chatstash.langgraph.migration.exporting import _export
    from chatstash.langgraph.migration.threads import checked_channel

    echo().invoke({"messages": copies(TURNS)}, config_of("t"))
    steps = _export(saver, checked_channel("t", "", "messages"), history, dry_run=False)
    call = next(steps)
    for _ in range(2):
        call = steps.send(getattr(call.target, call.method)(*call.arguments, **call.keywords))
    history.add_messages([HumanMessage("Me first")])
    with pytest.raises(ConcurrentTurn):
        getattr(call.target, call.method)(*call.arguments)
    assert len(history.messages) == 1


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(conversation=messages())
def test_every_message_survives_the_way_there_and_back(upstash: LocalUpstash, conversation: list[BaseMessage]) -> None:
    store = Store(upstash.url, upstash.token)
    source, target = History("source", store=store), History("target", store=store)
    source.clear()
    target.clear()
    source.add_messages(conversation)
    saver = InMemorySaver()
    try:
        subject.import_history(source, saver, "t")
    except TypeError:
        # JSON can hold integers that a checkpoint cannot.
        assert saver.get_tuple(config_of("t")) is None
        return
    subject.export_history(saver, "t", target)
    expected = [message for message in source.messages if message.type != "remove"]
    assert [message.type.removesuffix("MessageChunk").lower() for message in expected] == [
        message.type for message in target.messages
    ]
    assert subject.import_history(source, saver, "t").status in ("unchanged", "empty")
