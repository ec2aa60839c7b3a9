"""Random graphs, and random things to do with them."""

from __future__ import annotations

import operator
import random
import zlib
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage, ToolMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import END, START, StateGraph, add_messages
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Command, Interrupt, Send, interrupt


def merged(old: dict[str, Any] | None, new: dict[str, Any] | None) -> dict[str, Any]:
    """Merge dicts; None removes an entry."""
    both = {**(old or {}), **(new or {})}
    return {key: value for key, value in both.items() if value is not None}


def newest(old: Any, new: Any) -> Any:
    """Keep the newest value."""
    return new


def appended(state: list[Any] | None, writes: Any) -> list[Any]:
    """Append writes, one batch after another."""
    return [*(state or []), *(element for write in writes for element in write)]


class State(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    log: Annotated[list[str], operator.add]
    numbers: Annotated[list[int], operator.add]
    files: Annotated[dict[str, Any], merged]
    total: Annotated[int, operator.add]
    last: Annotated[Any, newest]
    events: Annotated[list[str], DeltaChannel(appended, snapshot_frequency=3)]


def _random_of(*parts: object) -> random.Random:
    return random.Random(zlib.crc32(repr(parts).encode()))


def _update(name: str, state: State, at: random.Random) -> dict[str, Any]:
    """Return a random update; the same for the same node and state."""
    step = state.get("total", 0)
    messages = list(state.get("messages", []))
    update: dict[str, Any] = {"total": 1, "log": [f"{name} {step}"]}
    if at.random() < 0.7:
        size = at.choice([5, 50, 400])
        update["messages"] = [AIMessage("x" * size + f" {name} {step}", id=f"{name}-{step}")]
    if messages and at.random() < 0.15:
        update["messages"] = [*update.get("messages", []), RemoveMessage(id=at.choice(messages).id)]
    if messages and at.random() < 0.15:
        edited = at.choice(messages)
        update["messages"] = [*update.get("messages", []), edited.model_copy(update={"content": f"edited at {step}"})]
    if messages and at.random() < 0.1:
        messages[-1].content = f"changed in place by {name} at {step}"
        update["messages"] = [messages[-1]]
    if at.random() < 0.05:
        update["messages"] = [RemoveMessage(id=REMOVE_ALL_MESSAGES), *messages[-2:]]
    if at.random() < 0.5:
        update["files"] = {
            f"/{at.randrange(5)}.txt": at.choice([None, "a" * 200, f"{name} {step}", {"lines": [step] * 40}])
        }
    if at.random() < 0.4:
        update["numbers"] = [at.randrange(1000) for _ in range(at.choice([1, 3, 100]))]
    if at.random() < 0.5:
        update["events"] = [f"{name}:{step}", "y" * at.choice([1, 200])]
    return update


def _node(seed: int, name: str, interrupts: bool) -> Callable[[State], dict[str, Any]]:
    def node(state: State) -> dict[str, Any]:
        at = _random_of(seed, name, state.get("total", 0), len(state.get("messages", [])))
        update = _update(name, state, at)
        if interrupts and at.random() < 0.6:
            update["log"].append(f"answered {interrupt(f'{name}?')}")
            if at.random() < 0.3:
                update["log"].append(f"answered again {interrupt(f'{name}, really?')}")
        if at.random() < 0.3:
            update["last"] = at.choice([name, None, {"by": name}, [1, 2, 3], ("a", 1)])
        return update

    return node


def _subgraph(seed: int, name: str) -> Any:
    graph = StateGraph(State)
    graph.add_node("first", _node(seed, f"{name}.first", interrupts=False))
    graph.add_node("second", _node(seed, f"{name}.second", interrupts=True))
    graph.add_edge(START, "first")
    graph.add_edge("first", "second")
    graph.add_edge("second", END)
    return graph.compile()


def _join(state: State) -> dict[str, Any]:
    return {"log": ["joined"], "last": len(state.get("log", []))}


def _map_each(state: State) -> Any:
    return [Send("mapped", {"last": number}) for number in range(state.get("total", 0) % 3)] or END


def _mapped(state: State) -> dict[str, Any]:
    return {"log": [f"mapped {state.get('last')}"], "events": [str(state.get("last"))]}


def graph_of(seed: int) -> StateGraph[Any, Any, Any, Any]:
    """Return a graph: parallel branches, perhaps a subgraph, perhaps interrupts, perhaps sends, and a join."""
    at = random.Random(seed)
    graph: Any = StateGraph(State)
    branches = [f"branch{number}" for number in range(at.randint(1, 3))]
    subgraph = at.random() < 0.4
    for number, name in enumerate(branches):
        if number == 0 and subgraph:
            graph.add_node(name, _subgraph(seed, name))
        else:
            graph.add_node(name, _node(seed, name, interrupts=at.random() < 0.3))
        graph.add_edge(START, name)
    graph.add_node("join", _join)
    graph.add_edge(branches, "join")
    graph.add_node("mapped", _mapped)
    graph.add_conditional_edges("join", _map_each, ["mapped", END])
    return graph  # type: ignore[no-any-return]


def new_input(at: random.Random, number: int) -> dict[str, Any]:
    """Return a turn's input."""
    message = HumanMessage("h" * at.choice([3, 60, 300]) + f" {number}", id=f"human-{number}")
    kinds: list[dict[str, Any]] = [
        {"messages": [message]},
        {"messages": [message], "files": {"/0.txt": f"new {number}"}, "events": [f"input {number}"]},
        {
            "messages": [
                message,
                AIMessage("", id=f"call-{number}", tool_calls=[{"name": "f", "args": {"a": 1}, "id": "c"}]),
            ]
        },
        {"messages": [ToolMessage("found", tool_call_id="c", id=f"tool-{number}")], "numbers": [1] * 50},
    ]
    return at.choice(kinds)


def resuming(at: random.Random, interrupts: Sequence[Interrupt]) -> Any:
    """Return an input that answers some of the interrupts, or goes on."""
    chosen = [one for one in interrupts if at.random() < 0.7] or list(interrupts)
    answers: Any = {one.id: f"yes {at.randrange(100)}" for one in chosen} or "yes"
    return at.choice([Command(resume=answers), Command(resume=answers, update={"log": ["with update"]}), None])
