"""Threads are listed, deleted by user, pruned and copied."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest

pytest.importorskip("langgraph.graph", reason="langgraph is not installed; make test installs it")

from langgraph.channels.delta import DeltaChannel
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from chatstash import Store
from chatstash.langgraph import UpstashRedisSaver
from chatstash.local import LocalUpstash
from chatstash.threads import index
from tests.conftest import Call
from tests.langgraph.saver.random_graphs import appended
from tests.langgraph.saver.test_saver import config_of, listed, put, values

Run = Callable[..., Any]


@pytest.fixture
def saver(upstash: LocalUpstash) -> UpstashRedisSaver:
    return UpstashRedisSaver(upstash.url, upstash.token)


def of_user(thread_id: str, user_id: str) -> Any:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": "", "user_id": user_id}}


def names(page: Any) -> list[str]:
    return [thread.thread_id for thread in page.threads]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the indexes take for the time, in seconds since the epoch."""
    now = [1_800_000_000.0]
    monkeypatch.setattr(index.time, "time", lambda: now[0])
    return now


def test_threads_are_listed_by_their_last_write(saver: UpstashRedisSaver, call: Call, clock: list[float]) -> None:
    for number in range(25):
        clock[0] += 1
        put(call, saver, of_user(f"t{number}", f"user{number % 2}"), {"x": 1})
    everything = names(call(saver, "list_threads"))
    assert everything == [f"t{number}" for number in reversed(range(25))]
    paged: list[str] = []
    cursor = None
    while True:
        page = call(saver, "list_threads", limit=7, cursor=cursor)
        paged += names(page)
        cursor = page.cursor
        if cursor is None:
            break
        assert len(page.threads) == 7
    assert paged == everything
    assert names(call(saver, "list_threads", user_id="user1")) == [name for name in everything if int(name[1:]) % 2]
    assert names(call(saver, "list_threads", user_id="nobody")) == []
    assert call(saver, "list_threads", limit=1).threads[0].updated_at == int(clock[0] * 1000)


def test_threads_of_one_moment_are_each_listed_once(saver: UpstashRedisSaver, call: Call, clock: list[float]) -> None:
    for number in range(30):
        put(call, saver, config_of(f"t{number}"), {"x": 1})
    paged: list[str] = []
    cursor = None
    while cursor is not None or not paged:
        page = call(saver, "list_threads", limit=4, cursor=cursor)
        paged += names(page)
        cursor = page.cursor
    assert sorted(paged) == sorted(f"t{number}" for number in range(30))


def test_a_thread_is_noted_once_a_minute_for_all_processes(
    upstash: LocalUpstash, saver: UpstashRedisSaver, call: Call, clock: list[float]
) -> None:
    config = put(call, saver, config_of(), {"x": 1})
    for seconds, noted in ((0, False), (30, False), (31, True), (1, False)):
        clock[0] += seconds
        cold = UpstashRedisSaver(store=Store(upstash.url, upstash.token))
        call(cold, "get_tuple", config_of())
        before = upstash.stats
        config = put(call, cold, config, {"x": 1})
        assert (upstash.stats - before).billed_commands == 2 + noted


def test_expired_and_deleted_threads_are_not_listed(saver: UpstashRedisSaver, call: Call, run: Run) -> None:
    for number in range(10):
        put(call, saver, of_user(f"t{number}", "u"), {"x": 1})
    run("DEL", "checkpoints:t3:h", "checkpoints:t3:z")
    call(saver, "delete_thread", "t4")
    for found in (call(saver, "list_threads"), call(saver, "list_threads", user_id="u", limit=8)):
        assert sorted(names(found)) == ["t0", "t1", "t2", "t5", "t6", "t7", "t8", "t9"]
    assert run("ZCARD", "checkpoints::threads") == 8


def test_a_user_is_deleted(saver: UpstashRedisSaver, call: Call, run: Run) -> None:
    for number in range(120):
        put(call, saver, of_user(f"t{number}", "u!%"), {"x": 1})
    put(call, saver, of_user("other", "u"), {"x": 1}, run_id="r")
    assert call(saver, "delete_user", "u!%") == 120
    assert call(saver, "delete_user", "u!%") == 0
    assert names(call(saver, "list_threads")) == ["other"]
    assert call(saver, "delete_user", "u") == 1
    assert run("KEYS", "*") == []


def test_a_copy_belongs_to_the_user_too(saver: UpstashRedisSaver, call: Call, run: Run) -> None:
    stored = put(call, saver, of_user("t", "u"), {"x": [1]}, run_id="r")
    call(saver, "put_writes", stored, [("x", 1)], "task")
    call(saver, "copy_thread", "t", "copy")
    call(saver, "copy_thread", "t", "copy")
    call(saver, "copy_thread", "t", "t")
    call(saver, "copy_thread", "nothing", "new")
    assert sorted(names(call(saver, "list_threads", user_id="u"))) == ["copy", "t"]
    assert call(saver, "get_tuple", config_of("copy")).pending_writes == [("task", "x", 1)]
    call(saver, "delete_thread", "t")
    assert values(call, saver, config_of("copy")) == {"x": [1]}
    call(saver, "delete_for_runs", ["r"])
    assert call(saver, "get_tuple", config_of("copy")) is None
    assert call(saver, "delete_user", "u") in (0, 1)
    assert run("KEYS", "*") == []


def test_a_copy_to_a_thread_with_checkpoints_keeps_both(saver: UpstashRedisSaver, call: Call) -> None:
    put(call, saver, config_of("target"), {"x": ["target"]})
    put(call, saver, config_of("source"), {"x": ["source"]})
    call(saver, "copy_thread", "source", "target")
    found = [one.checkpoint["channel_values"]["x"] for one in listed(call, saver, config_of("target"))]
    assert found == [["source"], ["target"]]


def test_the_checkpoints_of_a_run_are_removed_from_all_threads(saver: UpstashRedisSaver, call: Call, run: Run) -> None:
    for thread_id in ("a", "b!"):
        first = put(call, saver, config_of(thread_id), {"x": ["1"]}, run_id="r1")
        put(call, saver, first, {"x": ["1", "2"]}, run_id="r2")
    call(saver, "delete_for_runs", ["r1", "unknown"])
    for thread_id in ("a", "b!"):
        assert [one.metadata["run_id"] for one in listed(call, saver, config_of(thread_id))] == ["r2"]
        assert values(call, saver, config_of(thread_id)) == {"x": ["1", "2"]}
    call(saver, "delete_for_runs", ["r2"])
    assert values(call, saver, config_of("a")) is None


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    events: Annotated[list[str], DeltaChannel(appended, snapshot_frequency=1000)]


def graph(saver: Any, *, asks: bool = False) -> Any:
    def node(state: State) -> dict[str, Any]:
        number = len(state.get("log", []))
        answer = interrupt("?") if asks else number
        return {"log": [f"{answer}" + "x" * 300], "events": [str(number)]}

    built: Any = StateGraph(State)
    built.add_node("node", node)
    built.add_edge(START, "node")
    built.add_edge("node", END)
    return built.compile(checkpointer=saver)


CONFIG: Any = {"configurable": {"thread_id": "t"}}


def test_pruning_keeps_what_delta_channels_need(upstash: LocalUpstash, saver: UpstashRedisSaver, call: Call) -> None:
    app = graph(saver)
    for number in range(5):
        app.invoke({"log": [f"in {number}"], "events": ["in"]}, CONFIG)
    before = app.get_state(CONFIG).values
    assert before["events"] == ["in", "1", "in", "3", "in", "5", "in", "7", "in", "9"]
    call(saver, "prune", ["t"])
    cold = graph(UpstashRedisSaver(upstash.url, upstash.token))
    assert cold.get_state(CONFIG).values == before
    assert cold.invoke({"log": ["after"], "events": ["after"]}, CONFIG)["events"] == [*before["events"], "after", "11"]


def test_pruning_removes_the_rest(upstash: LocalUpstash, saver: UpstashRedisSaver, call: Call, run: Run) -> None:
    app = graph(saver)
    for _ in range(4):
        app.invoke({"log": ["x" * 200]}, CONFIG)
    for number in range(3):
        put(call, saver, config_of("t", "sub"), {"n": number})
    state = app.get_state(CONFIG).values
    size, fields = run("MEMORY", "USAGE", "checkpoints:t:h"), run("HLEN", "checkpoints:t:h")
    call(saver, "prune", ["t", "unknown"], keep_last=2)
    assert len(listed(call, saver, config_of("t", "sub"))) == 2
    call(saver, "prune", ["t"])
    assert len(listed(call, saver, config_of("t", "sub"))) == 1
    assert run("MEMORY", "USAGE", "checkpoints:t:h") < size
    assert run("HLEN", "checkpoints:t:h") < fields
    assert graph(UpstashRedisSaver(upstash.url, upstash.token)).get_state(CONFIG).values == state
    assert app.invoke({"log": ["after"]}, CONFIG)["log"][:-2] == state["log"]
    call(saver, "prune", ["t"], strategy="delete")
    assert run("KEYS", "*") == []


def test_pruning_keeps_interrupts(upstash: LocalUpstash, saver: UpstashRedisSaver, call: Call) -> None:
    app = graph(saver, asks=True)
    app.invoke({"log": ["first"]}, CONFIG)
    waiting = app.get_state(CONFIG).config
    fork = app.update_state(app.get_state(CONFIG).parent_config or CONFIG, {"log": ["fork"]}, as_node="__start__")
    app.invoke(None, fork)
    call(saver, "prune", ["t"])
    cold = graph(UpstashRedisSaver(upstash.url, upstash.token), asks=True)
    assert cold.get_state(waiting).interrupts
    assert cold.get_state(CONFIG).interrupts
    assert cold.invoke(Command(resume="yes"), CONFIG)["log"][-1].startswith("yes")


def test_pruning_while_others_write(upstash: LocalUpstash, saver: UpstashRedisSaver, call: Call) -> None:
    config = config_of()
    for number in range(20):
        config = put(call, saver, config, {"x": [str(number) * 200 for number in range(number)]})
        call(UpstashRedisSaver(upstash.url, upstash.token), "prune", ["t"])
        assert values(call, UpstashRedisSaver(upstash.url, upstash.token), config)["x"] == [
            str(n) * 200 for n in range(number)
        ]
