"""Sessions, edits and drafts under hostile ids, tokens that only read, clocks that are set, cancellations and forks."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage

from chatstash import ConcurrentTurn, MessageNotFound, ReadOnlyToken, Store, UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash
from tests.conftest import Call, command

History = UpstashRedisChatMessageHistory
Edit = Callable[[Call, Store, History], Any]


def _turn(call: Call, store: Store, history: History) -> None:
    with history.guarded_turn(replacing="b") as turn:
        turn.add_messages([AIMessage("c", id="c")])


def _draft(call: Call, store: Store, history: History) -> None:
    with history.draft() as draft:
        draft.update("x")


WRITES: dict[str, Edit] = {
    "add_messages": lambda call, store, history: call(history, "add_messages", [HumanMessage("x")]),
    "replace_message": lambda call, store, history: call(history, "replace_message", "q", AIMessage("z")),
    "delete_messages": lambda call, store, history: call(history, "delete_messages", "q"),
    "truncate": lambda call, store, history: call(history, "truncate", after="q"),
    "pop": lambda call, store, history: call(history, "pop"),
    "pop_item": lambda call, store, history: call(history.session(), "pop_item"),
    "switch_to": lambda call, store, history: call(history, "switch_to", history.alternatives("b")[0]),
    "fork": lambda call, store, history: call(history, "fork", "new"),
    "rename": lambda call, store, history: call(history, "rename", "new"),
    "clear": lambda call, store, history: call(history, "clear"),
    "update_session": lambda call, store, history: call(store, "update_session", "s", user_id="u", title="T"),
    "delete_session": lambda call, store, history: call(store, "delete_session", "s", user_id="u"),
    "delete_user": lambda call, store, history: call(store, "delete_user", "u"),
    "guarded_turn": _turn,
    "draft": _draft,
}


def _fill(history: History) -> None:
    history.add_messages([HumanMessage("q", id="q"), AIMessage("a", id="a")])
    with history.guarded_turn(replacing="a") as turn:
        turn.add_messages([AIMessage("b", id="b")])


def _dump(upstash: LocalUpstash) -> dict[str, str]:
    return {key: command(upstash, "DUMP", key) for key in command(upstash, "KEYS", "*")}


@pytest.mark.parametrize("name", WRITES)
def test_a_token_that_only_reads_changes_nothing(either: Call, name: str) -> None:
    with LocalUpstash(read_only_token="may-read") as upstash:
        _fill(History("s", upstash.url, upstash.token, user_id="u"))
        before = _dump(upstash)
        with Store(upstash.url, "may-read") as store:
            history = History("s", store=store, user_id="u")
            with pytest.raises(ReadOnlyToken):
                WRITES[name](either, store, history)
            assert [message.content for message in history.messages] == ["q", "b"]
            assert [session.title for session in store.list_sessions(user_id="u").sessions] == ["q"]
        assert _dump(upstash) == before


any_id = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8) | st.sampled_from(
    ["*", "?", "[a]", "a/b", "@", "@u/", "/", "%2F", "..", "\n", "\0", " ", "s:", "'", '"', "\\", "{x}", "\u202e"]
)


@pytest.fixture(scope="module")
def store() -> Any:
    with LocalUpstash() as upstash, Store(upstash.url, upstash.token) as store:
        yield store


@settings(max_examples=30)
@given(user_id=any_id, session_id=any_id, other=any_id)
def test_ids_of_any_characters_through_every_method(store: Store, user_id: str, session_id: str, other: str) -> None:
    names = [session_id, session_id + other, other + session_id + "~"]
    history, fork, renamed = (History(name, store=store, user_id=user_id) for name in names)
    _fill(history)
    assert history.alternatives("b")[0].items[0].content == "a"
    store.update_session(session_id, user_id=user_id, title=f"T{other}", metadata={other: user_id})
    assert history.fork(names[1]).length == history.rename(names[2]).length == 2
    first = store.list_sessions(user_id=user_id, limit=1)
    second = store.list_sessions(user_id=user_id, limit=1, cursor=first.next_cursor)
    found = [*first.sessions, *second.sessions]
    assert [(each.session_id, each.user_id, each.title) for each in found] == [
        (names[1], user_id, f"T{other}"), (names[2], user_id, f"T{other}")
    ]  # fmt: skip
    assert found[1] == store.get_session(names[2], user_id=user_id)
    assert found[1].metadata == {other: user_id}
    assert renamed.alternatives("b")[0].items[0].content == "a"
    with renamed.draft() as draft:
        draft.update("x")
        assert renamed.read_draft() is not None
        assert fork.read_draft() is None
    assert store.delete_session(names[1], user_id=user_id).existed
    assert [message.content for message in renamed.messages] == ["q", "b", "x"]
    erased = store.delete_user(user_id)
    assert erased.session_ids == [names[2]]
    assert store.list_sessions(user_id=user_id).sessions == []


def test_a_clock_that_is_set_back_loses_no_session_and_no_edit(
    upstash: LocalUpstash, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ns = time.time_ns
    with Store(upstash.url, upstash.token, ttl=900) as store:
        for hours in (0, -10_000, 5, -5):
            monkeypatch.setattr(time, "time_ns", lambda hours=hours: now_ns() + hours * 3600 * 10**9)
            history = History(f"s{hours}", store=store, user_id="u")
            _fill(history)
            with history.guarded_turn(replacing="b") as turn:
                turn.add_messages([AIMessage("c", id="c")])
            (first, second) = history.alternatives("c")
            assert [first.items[0].content, second.items[0].content] == ["a", "b"]
            history.switch_to(first)
            history.add_messages([HumanMessage("later")])
            history.replace_message("q", HumanMessage("edited"))
            assert [message.content for message in history.messages] == ["edited", "a", "later"]
            assert [message.content for message in history.read(last=2).messages] == ["a", "later"]
            assert history.count() == 3
            history.pop()
            assert [message.content for message in history.messages] == ["edited", "a"]
        listed = [session.session_id for session in store.list_sessions(user_id="u").sessions]
        assert listed == ["s5", "s0", "s-5", "s-10000"]  # by the clocks of the writers


async def _cancelled_at(step: int, awaitable: Coroutine[Any, Any, Any]) -> bool:
    """Run a coroutine and cancel it after some steps of the loop; tells whether it was still running."""
    task = asyncio.ensure_future(awaitable)
    for _ in range(step):
        if task.done():
            break
        await asyncio.sleep(0)
    was_running = task.cancel()
    await asyncio.wait([task])
    assert task.cancelled() or task.exception() is None
    return was_running


async def _regenerate(store: Store, history: History) -> None:
    async with history.guarded_turn(replacing="b") as turn:
        turn.add_messages([AIMessage("c", id="c")])


async def _write_draft(store: Store, history: History) -> None:
    async with history.draft() as draft:
        await draft.aupdate("x")


CANCELLED: dict[str, Callable[[Store, History], Coroutine[Any, Any, Any]]] = {
    "replace": lambda store, history: history.areplace_message("q", HumanMessage("new")),
    "delete": lambda store, history: history.adelete_messages("q"),
    "regenerate": _regenerate,
    "fork": lambda store, history: history.afork("new"),
    "rename": lambda store, history: history.arename("new"),
    "title": lambda store, history: store.aupdate_session("s", user_id="u", title="T"),
    "list": lambda store, history: store.alist_sessions(user_id="u"),
    "draft": _write_draft,
}


def _seen(store: Store) -> list[Any]:
    listed = [(session.session_id, session.title) for session in store.list_sessions(user_id="u").sessions]
    contents = [
        [message.content for message in History(name, store=store, user_id="u").messages] for name in ("s", "new")
    ]
    return [sorted(listed), *contents]


@pytest.mark.parametrize("name", CANCELLED)
def test_cancelled_at_any_await_it_is_as_before_or_as_after(upstash: LocalUpstash, name: str) -> None:
    async def attempt(step: int | None) -> bool:
        async with Store(upstash.url, upstash.token) as store:
            work = CANCELLED[name](store, History("s", store=store, user_id="u"))
            if step is None:
                await work
                return False
            is_cancelled = await _cancelled_at(step, work)
            # The same store still works.
            assert (await store.alist_sessions(user_id="u")).sessions
            return is_cancelled

    def begin() -> None:
        command(upstash, "FLUSHALL")
        _fill(History("s", upstash.url, upstash.token, user_id="u"))

    with Store(upstash.url, upstash.token) as reader:
        begin()
        before = _seen(reader)
        asyncio.run(attempt(None))
        after = _seen(reader)
        step = 0
        while step < 400:
            begin()
            if not asyncio.run(attempt(step)):
                break
            assert _settled(reader, before, after)
            step = step + 1 if step < 12 else 2 * step
    assert step > 1


def _settled(reader: Store, before: list[Any], after: list[Any]) -> bool:
    """Tell whether the state is one of the two; a request that was under way may arrive between two reads of it."""
    return any(_seen(reader) in (before, after) for _ in range(5))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_edits_on_its_own(upstash: LocalUpstash) -> None:
    with Store(upstash.url, upstash.token, cache_bytes=10**6) as store:
        history = History("s", store=store, user_id="u")
        _fill(history)
        draft = history.draft(every=0.5)
        draft.update("so far")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                history.replace_message("q", HumanMessage("child", id="q"))
                store.update_session("s", user_id="u", title="child")
                draft.finish()
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert [message.content for message in history.messages] == ["child", "b", "so far"]
        assert [session.title for session in store.list_sessions(user_id="u").sessions] == ["child"]


def test_threads_that_regenerate_one_reply_each_win_or_are_told(upstash: LocalUpstash) -> None:
    with Store(upstash.url, upstash.token, cache_bytes=10**6) as store:
        history = History("s", store=store, user_id="u")
        _fill(history)
        won: list[int] = []
        barrier = threading.Barrier(6)

        def regenerate(number: int) -> None:
            barrier.wait()
            try:
                with history.guarded_turn(replacing=history.records()[-1]) as turn:
                    turn.add_messages([AIMessage(str(number))])
            except (ConcurrentTurn, MessageNotFound):
                return
            won.append(number)

        threads = [threading.Thread(target=regenerate, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        records = history.records()
        assert len(records) == 2
        aside = [each.items[0].content for each in history.alternatives(records[-1])]
        assert len(won) >= 1
        assert sorted([*aside, history.messages[-1].content]) == sorted(["a", "b", *map(str, won)])
