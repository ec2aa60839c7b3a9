"""What a result says it cost is what the server counted, whichever way it was read; and pages meet real repairs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from chatstash import Cost, DatabaseError, Store, UpstashRedisChatMessageHistory, WrongType
from chatstash.history.doctor.doctor import Doctor
from chatstash.langchain.messages import why_unreadable
from chatstash.local import Limits, LocalUpstash
from chatstash.rest.database import Database
from chatstash.rest.ops import Op
from tests.conftest import Call, call_sync, command

LIMIT = 100_000


@pytest.fixture(scope="module")
def small() -> Iterator[LocalUpstash]:
    """A database with a small limit, so that a conversation of a few messages is read in pages."""
    with LocalUpstash(plan=Limits(max_request_bytes=LIMIT)) as upstash:
        yield upstash


def _messages(count: int, size: int) -> list[Any]:
    return [SystemMessage("be kind"), *(HumanMessage(str(number).ljust(size, "x")) for number in range(count))]


def _foreign(text: str) -> str:
    return json.dumps({"type": "human", "data": {"content": text}})


class _Case:
    """A conversation, and what others do to it before it is read."""

    def __init__(self, upstash: LocalUpstash, **options: Any) -> None:
        upstash.reset()
        self.upstash = upstash
        self.store = Store(upstash.url, upstash.token, max_request_bytes=LIMIT, cache_bytes=10**7, **options)
        self.history = UpstashRedisChatMessageHistory("s", store=self.store)

    def run(self, *words: str | int) -> Any:
        return command(self.upstash, *words)


def _nothing(case: _Case) -> None:
    case.history.add_messages(_messages(30, 100))


def _large(case: _Case) -> None:
    for message in _messages(30, 14_000):
        case.history.add_messages([message])


def _large_of_others(case: _Case) -> None:
    for number in range(30):
        case.run("LPUSH", case.history.key, _foreign(str(number).ljust(14_000, "x")))


def _very_large(case: _Case) -> None:
    for message in _messages(4, 75_000):
        case.history.add_messages([message])


def _known(case: _Case) -> None:
    _nothing(case)
    case.history.read()
    case.history.add_messages([AIMessage("new")])


def _edited_since(case: _Case) -> None:
    _known(case)
    newest = case.run("LINDEX", case.history.key, 0)
    case.run("LSET", case.history.key, 0, newest[:-1] + ',"g":1}')


def _known_and_large(case: _Case) -> None:
    _known(case)
    for message in _messages(8, 50_000):
        case.history.add_messages([message])


def _with_duplicates(case: _Case) -> None:
    _nothing(case)
    for at in (20, 2):
        case.run("LPUSH", case.history.key, case.run("LINDEX", case.history.key, at))


def _without_scripts(case: _Case) -> None:
    _with_duplicates(case)
    case.upstash.faults.add("server_error", times=2, matching="EVAL*")


STORED = [
    _nothing, _large, _large_of_others, _very_large, _known, _edited_since, _known_and_large, _with_duplicates,
    _without_scripts,
]  # fmt: skip
WAYS: dict[str, dict[str, Any]] = {
    "all": {},
    "window": {"last": 5},
    "wide window": {"last": 25},
    "window with the system message": {"last": 12, "keep_system": True},
    "tokens": {"max_tokens": 400},
    "tokens with the system message": {"max_tokens": 70_000, "keep_system": True},
    "page": {"limit": 20},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("stored", "refresh"),
    [*((stored, False) for stored in STORED), (_nothing, True), (_large, True), (_known, True)],
    ids=lambda value: value.__name__.strip("_") if callable(value) else str(value),
)
def test_a_read_costs_what_the_server_counted(
    small: LocalUpstash, stored: Callable[[_Case], None], way: str, refresh: bool
) -> None:
    options = {"ttl": 60, "refresh_ttl_on_read": True} if refresh else {}
    case = _Case(small, **options)
    stored(case)
    wanted = dict(WAYS[way])
    if way == "page":
        wanted["before"] = case.history.read(last=1).cursor
        case.run("LTRIM", case.history.key, 0, case.run("LLEN", case.history.key) - 2)
        if stored is _large_of_others:
            wanted["before"] = case.history.read(last=1).cursor
    before = small.stats
    cost = case.history.read(**wanted).cost
    spent = small.stats - before
    assert cost == Cost(spent.requests, spent.billed_commands, spent.bytes_received, spent.bytes_sent)


@pytest.mark.parametrize("fault", ["server_error", "throttled", "request_lost", "truncated"])
def test_requests_that_failed_are_in_the_cost(small: LocalUpstash, either: Call, fault: str) -> None:
    case = _Case(small)
    _large(case)
    told: list[Any] = []
    with Store(small.url, small.token, max_request_bytes=LIMIT, on_operation=told.append) as store:
        small.faults.add(fault, times=2)
        result = either(UpstashRedisChatMessageHistory("s", store=store), "read")
    (operation,) = told
    cost = Cost(operation.requests, operation.commands, operation.bytes_sent, operation.bytes_received)
    assert result.cost == cost


def test_an_error_tells_what_all_requests_of_the_operation_cost(upstash: LocalUpstash, call: Call) -> None:
    history = UpstashRedisChatMessageHistory("s", upstash.url, upstash.token, ttl=60)
    history.add_user_message("hello")
    command(upstash, "DEL", history.key)
    command(upstash, "SET", history.key, "of another program")
    before = upstash.stats
    with pytest.raises(WrongType) as caught:
        call(history, "add_messages", [HumanMessage("hello")])
    spent = upstash.stats - before
    assert isinstance(caught.value.cost, Cost)
    assert (caught.value.cost.requests, caught.value.cost.commands) == (spent.requests, spent.billed_commands)
    assert spent.requests == 2


def _interposed(op: Op[Any], act: Callable[[int], None]) -> Op[Any]:
    """Do something before each request of an operation; it is told the request's number."""
    number, answer = 0, op.__next__
    while True:
        try:
            batch = answer()
        except StopIteration as stop:
            return stop.value
        act(number)
        number += 1
        try:
            answer = partial(op.send, (yield batch))
        except DatabaseError as error:
            answer = partial(op.throw, error)


@pytest.mark.parametrize("last", [None, 28])
@pytest.mark.parametrize("at", range(2, 9))
def test_a_repair_between_two_pages_makes_no_mixture_and_none_is_kept(
    small: LocalUpstash, either: Call, monkeypatch: pytest.MonkeyPatch, last: int | None, at: int
) -> None:
    case = _Case(small, on_corrupt="skip")
    calling = AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}])
    for message in (calling, HumanMessage("and?"), *_messages(30, 14_000)):
        case.history.add_messages([message])
    # A record to quarantine, and a result to insert: the conversation is as long as it was.
    case.run("LSET", case.history.key, -4, "not JSON")
    repaired = []

    def repair(number: int) -> None:
        if number == at and not repaired:
            repaired.append(True)
            with (
                Store(small.url, small.token, max_request_bytes=LIMIT) as store,
                contextlib.closing(Doctor(store, why_unreadable, abandoned_after=0)) as doctor,
            ):
                assert doctor.repair(doctor.examine(case.history.key), lambda finding: None) == []

    name = "run" if either is call_sync else "arun"
    run = getattr(Database, name)
    monkeypatch.setattr(Database, name, lambda self, name, op, *more: run(self, name, _interposed(op, repair), *more))
    ids = [[record.id for record in either(case.history, "read", last=last).records] for _ in range(2)]
    monkeypatch.undo()
    with Store(small.url, small.token, max_request_bytes=LIMIT) as plain:
        now = UpstashRedisChatMessageHistory("s", store=plain).read(last=last)
    assert repaired
    assert ids == [[record.id for record in now.records]] * 2
