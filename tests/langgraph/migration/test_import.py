"""Importing conversations: what the thread has then, also the second time, and when it is in use."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("langgraph.graph")

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    ToolMessage,
    message_to_dict,
)
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import interrupt

import chatstash.langgraph as subject
from chatstash import Budget, CorruptRecord, RetryPolicy, Store, ThreadInUse, UpstashRedisChatMessageHistory
from chatstash.langchain.messages import to_records
from chatstash.langgraph import UpstashRedisSaver
from chatstash.local import Fault, LocalUpstash
from chatstash.local.faults import FaultKind
from tests.conftest import Call
from tests.langgraph.migration.support import TURNS, config_of, contents

History = UpstashRedisChatMessageHistory
Run = Callable[..., Any]


def push_as_the_old_class(run: Run, history: History, *messages: BaseMessage) -> None:
    for message in messages:
        run("LPUSH", history.key, json.dumps(message_to_dict(message)))


@pytest.mark.parametrize("kind", ["list", "delta"])
def test_a_graph_continues_the_conversation(saver: Any, history: History, echo: Any, call: Call, kind: str) -> None:
    history.add_messages(TURNS)
    result = call(subject, "import_history", history, saver, "t")
    assert (result.status, result.messages, result.added) == ("created", len(TURNS), len(TURNS))
    app = echo(kind)
    state = app.get_state(config_of("t"))
    assert (state.next, state.tasks) == ((), ())
    assert contents(state.values["messages"]) == contents(TURNS)
    assert state.config["configurable"]["checkpoint_id"] == result.config["configurable"]["checkpoint_id"]
    for turn in range(2):
        found = app.invoke({"messages": [HumanMessage("And now?")]}, config_of("t"))["messages"]
        assert found[-1].content == f"I see {len(TURNS) + 2 * turn + 1}."
    state = app.get_state(config_of("t"))
    assert state.next == ()
    assert contents(state.values["messages"][: len(TURNS)]) == contents(TURNS)
    assert [each.metadata["step"] for each in app.get_state_history(config_of("t"))][-1] == 0


def test_messages_keep_their_ids_and_others_get_the_same_each_time(saver: Any, history: History, call: Call) -> None:
    history.add_messages(TURNS)
    call(subject, "import_history", history, saver, "one")
    call(subject, "import_history", history, saver, "two")
    one, two = (saver.get_tuple(config_of(name)).checkpoint["channel_values"]["messages"] for name in ("one", "two"))
    ids = [message.id for message in one]
    assert ids == [message.id for message in two]
    assert len(set(ids)) == len(TURNS)
    assert ids[1:3] == ["h1", "a1"]
    assert one[1:3] == TURNS[1:3]


def test_again_stores_nothing_and_after_growth_only_the_new(saver: Any, history: History, call: Call, run: Run) -> None:
    push_as_the_old_class(run, history, *TURNS)
    first = call(subject, "import_history", history, saver, "t")
    again = call(subject, "import_history", history, saver, "t")
    assert (again.status, again.added, again.config) == ("unchanged", 0, first.config)
    push_as_the_old_class(run, history, HumanMessage("ok"))
    history.add_messages([AIMessage("Bye.")])
    grown = call(subject, "import_history", history, saver, "t")
    assert (grown.status, grown.messages, grown.added, grown.updated) == ("completed", len(TURNS) + 2, 2, 0)
    found = saver.get_tuple(config_of("t"))
    assert contents(found.checkpoint["channel_values"]["messages"]) == contents(history.messages)
    assert found.parent_config["configurable"]["checkpoint_id"] == first.config["configurable"]["checkpoint_id"]
    assert len(list(saver.list(config_of("t")))) == 2


def test_old_records_keep_their_ids_when_the_oldest_are_trimmed(saver: Any, history: History, run: Run) -> None:
    push_as_the_old_class(run, history, *TURNS)
    subject.import_history(history, saver, "t")
    run("LTRIM", history.key, 0, 2)
    assert subject.import_history(history, saver, "t").status == "unchanged"


def test_an_edit_of_the_conversation_is_taken_over(saver: Any, history: History, call: Call, run: Run) -> None:
    history.add_messages(TURNS)
    call(subject, "import_history", history, saver, "t")
    stored = run("LINDEX", history.key, 2)
    run("LSET", history.key, 2, stored.replace("It is 42.", "It is 43."))
    result = call(subject, "import_history", history, saver, "t")
    assert (result.status, result.added, result.updated) == ("completed", 0, 1)
    assert contents(saver.get_tuple(config_of("t")).checkpoint["channel_values"]["messages"]) == contents(
        history.messages
    )


def test_once_imported_the_application_owns_the_thread(saver: Any, history: History, echo: Any, call: Call) -> None:
    history.add_messages(TURNS)
    call(subject, "import_history", history, saver, "t")
    app = echo()
    app.invoke({"messages": [HumanMessage("New"), RemoveMessage("h1")]}, config_of("t"))
    before = app.get_state(config_of("t"))
    assert call(subject, "import_history", history, saver, "t").status == "unchanged"
    history.add_messages([HumanMessage("Late")])
    with pytest.raises(ThreadInUse, match=r"lacks 1 message of .* merge=True") as caught:
        call(subject, "import_history", history, saver, "t")
    assert (caught.value.thread_id, caught.value.missing) == ("t", 1)
    assert app.get_state(config_of("t")) == before
    merged = call(subject, "import_history", history, saver, "t", merge=True)
    assert (merged.status, merged.added) == ("merged", 1)
    state = app.get_state(config_of("t"))
    said = [message.content for message in state.values["messages"]]
    # After its predecessor, and what the application removed stays away.
    assert said == ["You are terse.", "", "42", "It is 42.", "ok", "ok", "Late", "New", "I see 7."]
    assert state.next == ()


def test_a_thread_in_use_is_refused_and_merge_puts_older_messages_first(
    saver: Any, history: History, echo: Any, call: Call
) -> None:
    app = echo()
    app.invoke({"messages": [HumanMessage("Mine")]}, config_of("t"))
    before = app.get_state(config_of("t"))
    history.add_messages(TURNS)
    with pytest.raises(ThreadInUse):
        call(subject, "import_history", history, saver, "t")
    assert app.get_state(config_of("t")) == before
    assert call(subject, "import_history", history, saver, "t", merge=True).added == len(TURNS)
    after = app.get_state(config_of("t")).values["messages"]
    assert contents(after) == contents([*TURNS, *before.values["messages"]])
    assert call(subject, "import_history", history, saver, "t").status == "unchanged"


def test_a_delta_channel_in_use_is_merged(saver: Any, history: History, echo: Any, call: Call) -> None:
    app = echo("delta")
    history.add_messages(TURNS[:3])
    call(subject, "import_history", history, saver, "t")
    for _ in range(3):
        app.invoke({"messages": [HumanMessage("Mine")]}, config_of("t"))
    assert call(subject, "import_history", history, saver, "t").status == "unchanged"
    before = app.get_state(config_of("t")).values["messages"]
    history.add_messages(TURNS[3:])
    assert call(subject, "import_history", history, saver, "t", merge=True).added == len(TURNS) - 3
    expected = contents([*before[:3], *TURNS[3:], *before[3:]])
    assert contents(app.get_state(config_of("t")).values["messages"]) == expected
    app.invoke({"messages": [HumanMessage("Mine")]}, config_of("t"))
    state = app.get_state(config_of("t"))
    assert contents(state.values["messages"][:-2]) == expected
    assert state.next == ()


def test_an_interrupt_is_not_lost(saver: Any, history: History, call: Call) -> None:
    from langgraph.graph import START, MessagesState, StateGraph

    graph = StateGraph(MessagesState)
    graph.add_node("ask", lambda state: {"messages": [AIMessage(interrupt("Sure?"))]})
    graph.add_edge(START, "ask")
    app = graph.compile(checkpointer=saver)
    app.invoke({"messages": [HumanMessage("Mine")]}, config_of("t"))
    history.add_messages(TURNS)
    with pytest.raises(ThreadInUse, match="waits for an answer"):
        call(subject, "import_history", history, saver, "t", merge=True)
    assert app.get_state(config_of("t")).interrupts[0].value == "Sure?"


def test_a_node_that_is_to_run_next_still_is(saver: Any, history: History, echo: Any, call: Call) -> None:
    app = echo(interrupt_before=["answer"])
    app.invoke({"messages": [HumanMessage("Mine")]}, config_of("t"))
    history.add_messages(TURNS)
    call(subject, "import_history", history, saver, "t", merge=True)
    assert app.get_state(config_of("t")).next == ("answer",)
    ended = echo().invoke(None, config_of("t"))
    assert ended["messages"][-1].content == f"I see {len(TURNS) + 1}."


def test_another_conversation_is_refused(saver: Any, history: History, call: Call) -> None:
    history.add_messages(TURNS[:1])
    call(subject, "import_history", history, saver, "t")
    other = History("other", store=history._store)
    other.add_messages(TURNS[:1])
    with pytest.raises(ThreadInUse):
        call(subject, "import_history", other, saver, "t")


def test_a_dry_run_tells_and_stores_nothing(saver: Any, history: History, call: Call) -> None:
    history.add_messages(TURNS)
    result = call(subject, "import_history", history, saver, "t", dry_run=True)
    assert (result.status, result.added, result.config) == ("created", len(TURNS), None)
    assert saver.get_tuple(config_of("t")) is None


def test_an_empty_conversation_makes_no_thread(saver: Any, history: History, call: Call) -> None:
    assert call(subject, "import_history", history, saver, "t") == subject.ImportResult("empty", 0)
    assert saver.get_tuple(config_of("t")) is None


def test_the_conversation_and_its_expiry_stay_as_they_are(saver: Any, history: History, call: Call, run: Run) -> None:
    history.ttl, history.refresh_ttl_on_read = 1000, True
    history.add_messages(TURNS)
    run("EXPIRE", history.key, 100)
    before = run("LRANGE", history.key, 0, -1)
    call(subject, "import_history", history, saver, "t")
    assert run("LRANGE", history.key, 0, -1) == before
    assert 0 < run("TTL", history.key) <= 100


def test_the_whole_conversation_is_imported_whatever_its_options_say(saver: Any, history: History, call: Call) -> None:
    history.add_messages(TURNS)
    windowed = History(history.session_id, store=history._store, read_last=2, max_tokens=1)
    assert call(subject, "import_history", windowed, saver, "t").added == len(TURNS)


def test_a_large_conversation_is_imported_whole(saver: Any, store: Any, call: Call) -> None:
    history = History("large", store=store, max_request_bytes=200_000)
    history.add_messages([HumanMessage(f"{number} " + "x" * 2000) for number in range(300)])
    call(subject, "import_history", history, saver, "t")
    assert len(saver.get_tuple(config_of("t")).checkpoint["channel_values"]["messages"]) == 300


@pytest.mark.parametrize("bad", ["no json", '{"type":"human"}', '{"type":"nonsense","data":{"content":"x"}}'])
def test_unreadable_records_raise_or_are_skipped(saver: Any, history: History, call: Call, run: Run, bad: str) -> None:
    history.add_messages(TURNS[:3])
    run("LPUSH", history.key, bad)
    history.add_messages(TURNS[4:])
    with pytest.raises(CorruptRecord):
        call(subject, "import_history", history, saver, "t")
    assert saver.get_tuple(config_of("t")) is None
    result = call(subject, "import_history", history, saver, "t", on_corrupt="skip")
    assert [error.position for error in result.unreadable] == [3]
    found = saver.get_tuple(config_of("t")).checkpoint["channel_values"]["messages"]
    # The unreadable record may have been the result of the call, which gets a placeholder.
    assert contents([*found[:3], *found[4:]]) == contents([*TURNS[:3], *TURNS[4:]])
    assert (found[3].type, found[3].tool_call_id, found[3].status) == ("tool", "call_1", "error")
    assert call(subject, "import_history", history, saver, "t", on_corrupt="skip").status == "unchanged"


def test_chunks_become_messages_removals_are_left_out_and_equal_ids_differ(
    saver: Any, history: History, call: Call
) -> None:
    # The old class stores removals.
    stored = to_records([AIMessageChunk("Hi", id="same"), RemoveMessage("x"), HumanMessage("Ho", id="same")])
    history._store.session(history.session_id).append(stored)
    call(subject, "import_history", history, saver, "t")
    first, second = saver.get_tuple(config_of("t")).checkpoint["channel_values"]["messages"]
    assert (type(first), first.id, second.content) == (AIMessage, "same", "Ho")
    assert second.id != "same"


def test_another_channel_and_a_namespace(saver: Any, history: History, call: Call) -> None:
    history.add_messages(TURNS)
    call(subject, "import_history", history, saver, "t", checkpoint_ns="inner", messages_key="chat")
    assert saver.get_tuple(config_of("t")) is None
    config = {"configurable": {"thread_id": "t", "checkpoint_ns": "inner"}}
    assert list(saver.get_tuple(config).checkpoint["channel_values"]) == ["chat"]


def test_a_channel_that_holds_no_messages_is_refused(saver: Any, history: History, call: Call) -> None:
    from typing import TypedDict

    from langgraph.graph import START, StateGraph

    class State(TypedDict):
        messages: str

    graph = StateGraph(State)
    graph.add_node("same", lambda state: state)
    graph.add_edge(START, "same")
    graph.compile(checkpointer=saver).invoke({"messages": "text"}, config_of("t"))
    history.add_messages(TURNS)
    with pytest.raises(ValueError, match="does not hold a list of messages"):
        call(subject, "import_history", history, saver, "t", merge=True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"thread_id": ""}, "thread_id must be a non-empty string"),
        ({"thread_id": 7}, "thread_id must be a non-empty string"),
        ({"messages_key": ""}, "messages_key"),
        ({"checkpoint_ns": None}, "checkpoint_ns"),
        ({"on_corrupt": "placeholder"}, "on_corrupt must be 'raise' or 'skip'"),
        ({"saver": object()}, "saver must be a checkpointer"),
        ({"history": object()}, "history must be a chatstash.UpstashRedisChatMessageHistory"),
    ],
)
def test_bad_arguments_are_refused(history: History, either: Call, arguments: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"history": history, "saver": InMemorySaver(), "thread_id": "t", **arguments}
    with pytest.raises(ValueError, match=said):
        either(subject, "import_history", **given)


def test_what_it_costs(history: History, call: Call) -> None:
    """Documented in docs/guides/migration-to-langgraph.md."""
    history.add_messages(TURNS)
    saver = UpstashRedisSaver(store=history._store)
    for cost in ((3, 6), (2, 5)):
        before = history._store.stats()
        call(subject, "import_history", history, saver, "t")
        after = history._store.stats()
        assert (after.requests - before.requests, after.commands - before.commands) == cost


def test_results_stay_with_their_calls(saver: Any, history: History, echo: Any, call: Call, run: Run) -> None:
    history.add_messages([TURNS[1], TURNS[2], TURNS[3]])
    call(subject, "import_history", history, saver, "t")
    app = echo()
    app.invoke({"messages": [HumanMessage("New")]}, config_of("t"))
    # Somebody inserts a record after the call.
    extra = json.dumps({"type": "human", "data": {"content": "Inserted"}})
    run("LINSERT", history.key, "AFTER", run("LINDEX", history.key, 0), extra)
    call(subject, "import_history", history, saver, "t", merge=True)
    found = app.get_state(config_of("t")).values["messages"]
    assert [message.type for message in found[:4]] == ["human", "ai", "tool", "human"]
    assert isinstance(found[2], ToolMessage)


@pytest.mark.parametrize("fault", ["reply_lost", "request_lost", "replayed", "server_error"])
def test_faults_do_not_change_the_result(upstash: LocalUpstash, call: Call, fault: FaultKind) -> None:
    budget = Budget(timeout=60, first_pause=0.001, longest_pause=0.002)
    store = Store(upstash.url, upstash.token, retry_policy=RetryPolicy(budget, budget, budget))
    history, copy, saver = History("source", store=store), History("copy", store=store), UpstashRedisSaver(store=store)
    history.add_messages(TURNS)
    upstash.faults.add(Fault(fault, probability=0.5))
    assert call(subject, "import_history", history, saver, "t").added == len(TURNS)
    assert call(subject, "export_history", saver, "t", copy).added == len(TURNS)
    assert call(subject, "import_history", history, saver, "t").status == "unchanged"
    assert call(subject, "export_history", saver, "t", copy).added == 0
    upstash.faults.clear()
    assert upstash.stats.faults > 0
    assert len(list(saver.list(config_of("t")))) == 1
    assert contents(copy.messages) == contents(TURNS)


def test_an_agent_continues_after_a_tool_call(saver: Any, history: History, call: Call) -> None:
    agents = pytest.importorskip("langchain.agents")
    from langchain_core.language_models import FakeListChatModel

    history.add_messages(TURNS)
    call(subject, "import_history", history, saver, "t")
    agent = agents.create_agent(FakeListChatModel(responses=["Yes."]), checkpointer=saver)
    assert agent.get_state(config_of("t")).next == ()
    found = agent.invoke({"messages": [HumanMessage("Still there?")]}, config_of("t"))["messages"]
    assert contents(found) == contents([*TURNS, HumanMessage("Still there?"), AIMessage("Yes.")])


def test_deepagents_continue(saver: Any, history: History, call: Call) -> None:
    deepagents = pytest.importorskip("deepagents")
    from langchain_core.language_models import FakeListChatModel

    class Model(FakeListChatModel):
        def bind_tools(self, tools: Any, **options: Any) -> Any:
            return self

    history.add_messages(TURNS)
    call(subject, "import_history", history, saver, "t")
    agent = deepagents.create_deep_agent(Model(responses=["Yes."]))
    agent.checkpointer = saver
    assert agent.get_state(config_of("t")).next == ()
    found = agent.invoke({"messages": [HumanMessage("Still there?")]}, config_of("t"))["messages"]
    assert contents(found) == contents([*TURNS, HumanMessage("Still there?"), AIMessage("Yes.")])
    assert call(subject, "export_history", saver, "t", history).added == 2
    assert call(subject, "import_history", history, saver, "t").status == "unchanged"
