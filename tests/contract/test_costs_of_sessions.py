"""What the docstrings of sessions, edits and drafts say of their cost is what the server bills."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import pytest

from chatstash import Record, Session, Store
from chatstash.local import LocalUpstash
from tests.conftest import Call, command


class Case(NamedTuple):
    """An operation, and its cost.

    Attributes:
        use: Runs it, given how to call methods, the store and the session.
        requests: How many requests it takes.
        commands: How many commands: without and with a ttl, and the same on an index.
        before: What is done before, which is not counted.
    """

    use: Callable[[Call, Store, Session[Record]], Any]
    requests: int
    commands: tuple[int, int, int, int]
    before: Callable[[Call, Store, Session[Record]], Any] = lambda call, store, session: None


def _say(*texts: str) -> list[Record]:
    return [Record("human", {"content": text, "id": text}) for text in texts]


def _call(name: str, *args: Any, **kwargs: Any) -> Callable[[Call, Store, Session[Record]], Any]:
    return lambda call, store, session: call(session, name, *args, **kwargs)


def _of_store(name: str, *args: Any, **kwargs: Any) -> Callable[[Call, Store, Session[Record]], Any]:
    return lambda call, store, session: call(store, name, *args, user_id="u", **kwargs)


def _turn(replacing: str | None = None, **options: Any) -> Callable[[Call, Store, Session[Record]], Any]:
    def use(call: Call, store: Store, session: Session[Record]) -> None:
        if options:
            session = store.session("s", user_id=_user_of(session), **options)
        with session.guarded_turn(replacing=replacing) as turn:
            turn.append(_say("new"))

    return use


def _user_of(session: Session[Record]) -> str | None:
    return None if session.address.named is None else session.address.named.user_id


def _switch(call: Call, store: Store, session: Session[Record]) -> Any:
    return call(session, "switch_to", session.alternatives("new")[0])


def _draft(writes: int) -> Callable[[Call, Store, Session[Record]], Any]:
    def use(call: Call, store: Store, session: Session[Record]) -> None:
        with suppress(ZeroDivisionError), session.draft(every=0.5) as draft:
            for number in range(writes):
                draft._next_write = 0.0
                draft.update(str(number))
            draft._is_over = True  # leaving is counted by itself
            raise ZeroDivisionError

    return use


def _finished_draft(call: Call, store: Store, session: Session[Record]) -> None:
    with session.draft() as draft:
        draft.update("so far")


def _pages(call: Call, store: Store, session: Session[Record]) -> Any:
    return call(store, "list_sessions", user_id="u", limit=1, cursor=_cursor(store))


def _cursor(store: Store) -> str | None:
    return store.list_sessions(user_id="u", limit=1).next_cursor


def _more_sessions(call: Call, store: Store, session: Session[Record]) -> None:
    for number in range(5):
        store.session(f"other{number}", user_id="u").append(_say("x"))


def _append_in_a_new_process(call: Call, store: Store, session: Session[Record]) -> None:
    with Store(store.url, store.endpoint.token.get_secret_value(), ttl=store.options.ttl) as other:
        call(other.session("s", user_id=_user_of(session)), "append", _say("x"))


CASES = {
    "append": Case(_call("append", _say("x")), 1, (1, 2, 2, 4)),
    "append in a new process": Case(_append_in_a_new_process, 1, (1, 3, 4, 7)),
    "append with strict delivery": Case(
        lambda call, store, session: call(
            store.session("s", user_id=_user_of(session), delivery="strict"), "append", _say("x")
        ),
        1, (3, 4, 4, 6),
    ),
    "append with a key": Case(_call("append", _say("x"), idempotency_key="e"), 1, (3, 4, 4, 6)),
    "read": Case(_call("read"), 1, (1, 1, 1, 1)),
    "read a window": Case(_call("read", last=2), 1, (3, 3, 3, 3)),
    "count": Case(_call("count"), 1, (4, 4, 4, 4)),
    "turn": Case(_turn(), 2, (5, 6, 6, 8)),
    "strict turn": Case(_turn(delivery="strict"), 2, (6, 7, 7, 9)),
    "replacing turn": Case(_turn("4"), 2, (16, 17, 17, 19)),
    "replace_message": Case(_call("replace_message", "2", _say("new")[0]), 1, (8, 8, 8, 8)),
    "delete one": Case(_call("delete_messages", "2"), 1, (9, 9, 9, 9)),
    "delete three": Case(_call("delete_messages", "0", "2", "4"), 1, (11, 11, 11, 11)),
    "truncate": Case(_call("truncate", after="2"), 1, (8, 8, 8, 8)),
    "pop": Case(_call("pop"), 1, (9, 9, 9, 9)),
    "pop three": Case(_call("pop", 3), 1, (9, 9, 9, 9)),
    "pop_item": Case(_call("pop_item"), 2, (7, 7, 7, 7)),
    "alternatives": Case(_call("alternatives", "new"), 1, (5, 5, 5, 5), _turn("4")),
    "switch_to": Case(_switch, 2, (21, 21, 21, 21), _turn("4")),
    "fork": Case(_call("fork", "new"), 1, (7, 8, 11, 14)),
    "fork a part": Case(_call("fork", "new", upto="2"), 1, (9, 10, 13, 16)),
    "rename": Case(_call("rename", "new"), 1, (7, 7, 16, 17)),
    "rename with alternatives": Case(_call("rename", "new"), 1, (11, 11, 20, 21), _turn("4")),
    "clear": Case(_call("clear"), 1, (4, 4, 7, 7)),
    "replace": Case(_call("replace", _say("new")), 1, (5, 6, 6, 8)),
    "read_draft": Case(_call("read_draft"), 1, (1, 1, 1, 1)),
    "a draft's first write": Case(_draft(1), 1, (3, 3, 3, 3)),
    "a draft's third write": Case(_draft(3), 3, (5, 5, 5, 5)),
    "a draft's append": Case(_finished_draft, 2, (5, 6, 6, 8)),
}  # fmt: skip
OF_STORE = {
    "list_sessions": Case(_of_store("list_sessions"), 1, (0, 0, 4, 4), _more_sessions),
    "list_sessions, the second page": Case(_pages, 2, (0, 0, 10, 10), _more_sessions),
    "get_session": Case(_of_store("get_session", "s"), 1, (0, 0, 3, 3)),
    "update_session, title": Case(_of_store("update_session", "s", title="T"), 1, (0, 0, 7, 8)),
    "update_session, both": Case(_of_store("update_session", "s", title="T", metadata={"a": 1}), 1, (0, 0, 9, 11)),
    "delete_session": Case(_of_store("delete_session", "s"), 1, (0, 0, 7, 7)),
}


def _billed(upstash: LocalUpstash, case: Case, call: Call, ttl: int | None, user_id: str | None) -> tuple[int, int]:
    with Store(upstash.url, upstash.token, ttl=ttl) as store:
        session = store.session("s", user_id=user_id)
        session.append(_say(*"01234"))
        case.before(call, store, session)
        before = upstash.stats
        case.use(call, store, session)
        spent = upstash.stats - before
    return spent.requests, spent.billed_commands


@pytest.mark.parametrize("name", CASES)
def test_an_operation_of_a_session_costs_what_is_documented(upstash: LocalUpstash, either: Call, name: str) -> None:
    case, billed = CASES[name], []
    for user_id in (None, "u"):
        for ttl in (None, 600):
            command(upstash, "FLUSHALL")
            requests, commands = _billed(upstash, case, either, ttl, user_id)
            assert requests == case.requests
            billed.append(commands)
    assert tuple(billed) == case.commands


@pytest.mark.parametrize("name", OF_STORE)
def test_an_operation_of_a_store_costs_what_is_documented(upstash: LocalUpstash, either: Call, name: str) -> None:
    case, billed = OF_STORE[name], []
    for ttl in (None, 600):
        command(upstash, "FLUSHALL")
        requests, commands = _billed(upstash, case, either, ttl, "u")
        assert requests == case.requests
        billed.append(commands)
    assert tuple(billed) == case.commands[2:]
