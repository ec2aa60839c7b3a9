"""A process that is killed at any request of an edit leaves the conversation as before or as after."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from chatstash import Store, UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash
from tests.conftest import command

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")

History = UpstashRedisChatMessageHistory
Edit = Callable[[History], object]


def _regenerate(history: History, *texts: str) -> None:
    with history.guarded_turn(replacing="a2") as turn:
        turn.add_messages([AIMessage(text) for text in texts])


def _draft(history: History) -> None:
    with history.draft() as draft:
        draft.update("so")
        draft.update(" far")


EDITS: dict[str, Edit] = {
    "regenerate": lambda history: _regenerate(history, "new"),
    "regenerate with a large reply": lambda history: _regenerate(history, *(letter * 60_000 for letter in "xyz")),
    "switch": lambda history: history.switch_to(history.alternatives("a2")[0]),
    "replace": lambda history: history.replace_message("q1", HumanMessage("new")),
    "delete": lambda history: history.delete_messages("q1", "a1"),
    "truncate": lambda history: history.truncate(after="q1"),
    "pop": lambda history: history.pop(2),
    "pop_item": lambda history: history.session().pop_item(),
    "fork": lambda history: history.fork("new", upto="q2"),
    "rename": lambda history: history.rename("new"),
    "append": lambda history: history.add_messages([HumanMessage("new")]),
    "append a large turn": lambda history: history.add_messages([HumanMessage("x" * 60_000), AIMessage("y" * 60_000)]),
    "draft": _draft,
    "clear": lambda history: history.clear(),
}


def _prepare(store: Store) -> History:
    history = History("s", store=store, user_id="u")
    history.clear()
    History("new", store=store, user_id="u").clear()
    history.add_messages([HumanMessage("q1", id="q1"), AIMessage("a1", id="a1")])
    history.add_messages([HumanMessage("q2", id="q2"), AIMessage("a0", id="a0")])
    with history.guarded_turn(replacing="a0") as turn:
        turn.add_messages([AIMessage("a2", id="a2")])
    return history


def _state(upstash: LocalUpstash) -> list[Any]:
    """Return what another process sees of both sessions."""
    with Store(upstash.url, upstash.token) as store:
        listed = {session.session_id: session.title for session in store.list_sessions(user_id="u").sessions}
        seen: list[Any] = [listed]
        for name in ("s", "new"):
            history = History(name, store=store, user_id="u")
            seen.append([message.content for message in history.messages])
            if records := history.records():
                seen.append([[item.content for item in each.items] for each in history.alternatives(records[-1])])
        return seen


def _run(upstash: LocalUpstash, edit: Edit, at: int) -> bool:
    """Run an edit in a process of its own and kill it at a request; tells whether there was such a request."""
    for _ in range(at):
        upstash.faults.next(None)
    upstash.faults.next("delay", held=True)
    child = os.fork()
    if child == 0:
        try:
            with Store(upstash.url, upstash.token, max_request_bytes=100_000) as store:
                edit(History("s", store=store, user_id="u"))
        finally:
            os._exit(0)
    while not upstash.held:
        if os.waitpid(child, os.WNOHANG) != (0, 0):
            upstash.faults.clear()
            return False
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


@pytest.mark.parametrize("name", EDITS)
def test_killed_at_each_request_it_is_as_before_or_as_after(upstash: LocalUpstash, name: str) -> None:
    edit = EDITS[name]
    with Store(upstash.url, upstash.token, max_request_bytes=100_000) as store:
        history = _prepare(store)
        before = _state(upstash)
        edit(history)
        after = _state(upstash)
        at = 0
        while True:
            _prepare(store)
            if not _run(upstash, edit, at):
                break
            assert _state(upstash) == before
            # Its last request may still arrive.
            upstash.release()
            assert _state(upstash) in (before, after)
            assert all(command(upstash, "TTL", key) > 0 for key in command(upstash, "KEYS", "chatstash:staging:*"))
            at += 1
    assert at > 0
    assert _state(upstash) == after


def test_an_erasure_that_is_killed_is_completed_by_the_next(upstash: LocalUpstash) -> None:
    with Store(upstash.url, upstash.token) as store:
        other = History("s", store=store, user_id="other")
        other.add_messages([HumanMessage("kept")])
        kept = {*command(upstash, "KEYS", "*")}
        at = 0
        while True:
            for name in ("a", "b", "c"):
                History(name, store=store, user_id="u").add_messages([HumanMessage("q", id="q"), AIMessage("a")])
                with History(name, store=store, user_id="u").guarded_turn(replacing="q") as turn:
                    turn.add_messages([HumanMessage("new")])
            if not _run(upstash, lambda history: history._store.delete_user("u"), at):
                break
            for name in ("a", "b", "c"):
                messages = History(name, store=store, user_id="u").messages
                assert [message.content for message in messages] in ([], ["new"])
            upstash.release()
            at += 1
            store.delete_user("u")
            assert {*command(upstash, "KEYS", "*")} == kept
        assert at > 1
        assert {*command(upstash, "KEYS", "*")} == kept
