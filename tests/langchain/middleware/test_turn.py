"""Which messages a turn shows to the model, and which it stores."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("langchain.agents", exc_type=ImportError)

from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from chatstash.langchain.middleware.turn import Mark, Turn, advanced, begin, removals, shown
from chatstash.local import LocalUpstash
from tests.langchain.middleware.support import SESSION, THREAD, Watched, agent
from tests.langchain.support import history, stored


def _named(prefix: str, count: int) -> list[BaseMessage]:
    return [HumanMessage(f"{prefix}{n}", id=f"{prefix}{n}") for n in range(count)]


def _names(messages: list[BaseMessage]) -> list[str | None]:
    return [message.id for message in messages]


@given(
    before=st.integers(0, 3),
    owners=st.lists(st.sampled_from(["thread", "other"]), max_size=8),
    trimmed=st.integers(0, 8),
    new=st.integers(1, 2),
    last=st.integers(0, 12),
)
def test_the_model_is_shown_each_message_once_and_in_order(
    before: int, owners: list[str], trimmed: int, new: int, last: int
) -> None:
    """A conversation began before the thread; others write to it too; the thread's oldest messages were trimmed."""
    written = [HumanMessage(f"{owner}{at}", id=f"{owner}{at}") for at, owner in enumerate(owners)]
    thread = [message for message in written if str(message.id).startswith("thread")]
    conversation = [*_named("before", before), *written]
    window = conversation[len(conversation) - last :] if last < len(conversation) else conversation
    held = [*thread[trimmed:], *_named("new", new)]
    mark: Mark = {"first": thread[0].id or "", "last": thread[-1].id or ""} if thread else {}
    seen = _names(shown(window, held, mark))
    assert len(seen) == len(set(seen))
    assert [name for name in seen if name in _names(held)] == _names(held)
    assert set(seen) <= {*_names(window), *_names(held)}
    assert [name for name in seen if name in _names(window)] == [name for name in _names(window) if name in seen]
    assert not set(seen) & set(_names(thread[:trimmed]))
    first = next((at for at, message in enumerate(window) if message in thread), 0) if thread else 0
    kept = [message for message in window[:first] if str(message.id).startswith("before")]
    if trimmed < len(thread):
        later = window[window.index(held[0]) :] if held[0] in window else []
        assert set(_names([*kept, *later])) <= set(seen)


def test_a_mark_grows_no_longer_than_two_ids() -> None:
    mark: Mark = {}
    state: list[BaseMessage] = []
    for turn in range(3):
        state = [*state, HumanMessage("q", id=f"q{turn}")]
        start = begin([], state, mark)
        assert _names(start.new) == [f"q{turn}"]
        state = [*state, AIMessage("a", id=f"a{turn}")]
        mark = advanced(start.mark, [*start.new, state[-1]], state)
    assert mark == {"first": "q0", "last": "a2"}


def test_the_text_of_a_message_of_the_thread_does_not_make_it_a_repetition() -> None:
    window = [HumanMessage("ok", id="h1"), AIMessage("It is so.", id="a1")]
    unstored = [HumanMessage("ok", id="h2"), AIMessage("It is so.", id="a2"), HumanMessage("ok", id="h3")]
    start = begin(window, [*window, *unstored], {"first": "h1", "last": "a1"})
    assert (_names(start.new), start.repeated) == (["h2", "a2", "h3"], [])


def test_a_repetition_is_removed_from_the_state_and_instructions_stay() -> None:
    window = [HumanMessage("Who?", id="h1"), AIMessage("I.", id="a1")]
    given = [
        SystemMessage("Be kind.", id="s"),
        HumanMessage("Who?", id="x"),
        AIMessage("I.", id="y"),
        HumanMessage("?", id="z"),
    ]
    start = begin(window, given, {})
    assert _names(start.new) == ["z"]
    assert _names(start.kept) == ["s", "z"]
    assert [message.id for message in removals(given, start.repeated)] == ["x", "y"]
    assert start.mark == {"last": "s", "asked": ["z"]}


def test_a_turn_shows_no_message_when_printed() -> None:
    assert "secret" not in repr(Turn(None, window=[HumanMessage("secret")]))


@pytest.mark.parametrize("form", [dict, lambda **message: (message["role"], message["content"])])
@pytest.mark.parametrize("keep", [None, 3])
def test_a_front_end_may_send_its_transcript(upstash: LocalUpstash, form: Any, keep: int | None) -> None:
    model = Watched()
    shown_there: list[Any] = []
    for question in ("weather?", "ok", "ok", "ok"):
        shown_there.append(form(role="user", content=question))
        sent = shown_there if keep is None else shown_there[-keep:]
        done = agent(upstash, model=model).invoke({"messages": sent}, SESSION)
        shown_there.append(form(role="assistant", content=done["messages"][-1].content))
        assert model.last == stored(upstash)[:-1]
    assert [text for kind, text in stored(upstash) if kind == "human"] == ["weather?", "ok", "ok", "ok"]


def test_messages_with_their_ids_are_neither_shown_nor_stored_again(upstash: LocalUpstash) -> None:
    model = Watched()
    for question in ("ok 1", "ok 2", "ok 3"):
        sent = [*history(upstash).messages[-2:], HumanMessage(question)]
        agent(upstash, model=model).invoke({"messages": sent}, SESSION)
        assert model.last == stored(upstash)[:-1]
    assert [text for kind, text in stored(upstash) if kind == "human"] == ["ok 1", "ok 2", "ok 3"]


def test_each_message_is_streamed_once(upstash: LocalUpstash) -> None:
    from langgraph.checkpoint.memory import InMemorySaver

    asked = agent(upstash, checkpointer=InMemorySaver())
    for _ in range(2):
        parts = asked.stream({"messages": "weather?"}, THREAD, stream_mode="messages")
        kinds = [message.type for message, _ in parts if message.type in ("ai", "tool", "human", "remove")]
        assert kinds == ["tool"]
