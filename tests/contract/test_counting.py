"""Totals and the hook: what the library says an operation cost is what the server saw."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from chatstash import (
    ConcurrentTurn,
    ConnectionFailed,
    IdempotencyConflict,
    Operation,
    Record,
    ServerError,
    Store,
    StoreClosed,
    StoreStats,
    UpstashRedisChatMessageHistory,
    WrongType,
)
from chatstash.local import LocalUpstash
from tests.conftest import Call, command

SECRET = "what the user said"


@pytest.fixture
def told() -> list[Operation]:
    return []


@pytest.fixture
def store(upstash: LocalUpstash, told: list[Operation]) -> Iterator[Store]:
    with Store(upstash.url, upstash.token, ttl=60, on_operation=told.append) as made:
        yield made


def _records(*texts: str) -> list[Record]:
    return [Record("human", {"content": text}) for text in texts]


def _mixed(store: Store, upstash: LocalUpstash, call: Call) -> None:
    session = store.session("s")
    call(session, "append", [])
    call(session, "append", _records("a", "b"))
    call(session, "append", _records("c"), idempotency_key="evt")
    call(session, "append", _records("c"), idempotency_key="evt")
    with pytest.raises(IdempotencyConflict):
        call(session, "append", _records("d"), idempotency_key="evt")
    call(session, "check_outcome", "evt")
    call(session, "read")
    call(session, "records")
    contents = session.run(session.reading(session.selection({})))
    call(session, "run", session.appending_unless_changed(_records("e"), contents))
    with pytest.raises(ConcurrentTurn):
        call(session, "run", session.appending_unless_changed(_records("f"), contents))
    # A copy, as a late request leaves it: the next reader takes it out.
    command(upstash, "LPUSH", session.key, session.records()[0].raw.decode())
    call(session, "read")
    call(store.session("large", max_request_bytes=100_000), "append", _records(*["x" * 30_000] * 6))
    call(store.session("none"), "clear")
    call(session, "clear")
    command(upstash, "SET", session.key, "no list")
    with pytest.raises(WrongType):
        call(session, "read")


def test_totals_are_what_the_server_bills(
    upstash: LocalUpstash, store: Store, told: list[Operation], call: Call
) -> None:
    before = upstash.stats
    _mixed(store, upstash, call)
    spent, counted = upstash.stats - before, store.stats()
    by_hand = [entry for entry in upstash.log if entry.commands[0].startswith(("LPUSH message_store:s", "SET message"))]
    aside = [entry for entry in by_hand if entry.command_count == 1]
    assert len(aside) == 2
    assert counted.requests == spent.requests - len(aside)
    assert counted.commands == spent.billed_commands - len(aside)
    assert counted.bytes_sent == spent.bytes_received - sum(entry.bytes_received for entry in aside)
    assert counted.bytes_received == spent.bytes_sent - sum(entry.bytes_sent for entry in aside)
    assert counted.operations == {"append": 5, "check_outcome": 1, "read": 6, "guarded_append": 2, "clear": 2}
    assert counted.errors == {"IdempotencyConflict": 1, "ConcurrentTurn": 1, "WrongType": 1}
    assert counted.retries == 0


def test_the_hook_is_told_what_the_totals_are_made_of(
    upstash: LocalUpstash, store: Store, told: list[Operation], call: Call
) -> None:
    _mixed(store, upstash, call)
    total = StoreStats()
    for operation in told:
        total = total.plus(operation)
    assert total == store.stats()
    assert {operation.key for operation in told} == {f"message_store:{name}" for name in ("s", "large", "none")}
    assert all(operation.seconds > 0 for operation in told)
    assert [type(operation.error) for operation in told if operation.error] == [
        IdempotencyConflict, ConcurrentTurn, WrongType
    ]  # fmt: skip


def test_an_operation_costs_what_its_result_says(store: Store, told: list[Operation], call: Call) -> None:
    session = store.session("s")
    results = [call(session, "append", _records("a")), call(session, "read"), call(session, "clear")]
    for result, operation in zip(results, told, strict=True):
        assert (result.cost.requests, result.cost.commands) == (operation.requests, operation.commands)
        assert (result.cost.bytes_sent, result.cost.bytes_received) == (operation.bytes_sent, operation.bytes_received)


def test_what_asks_nothing_is_no_operation(store: Store, told: list[Operation], call: Call) -> None:
    call(store.session("s"), "append", [])
    assert told == []
    assert store.stats() == StoreStats()


def test_requests_that_are_sent_again_count(
    upstash: LocalUpstash, store: Store, told: list[Operation], call: Call
) -> None:
    upstash.faults.add("reply_lost", times=1)
    upstash.faults.add("throttled", times=1)
    call(store.session("s"), "append", _records("a"))
    (operation,) = told
    assert (operation.requests, operation.retries, operation.error) == (3, 2, None)
    assert (store.stats().requests, store.stats().retries) == (3, 2)
    # The settlement alone was answered with replies: EVAL, LLEN, LRANGE.
    assert operation.commands == 3


def test_an_operation_that_fails_is_told(upstash: LocalUpstash, told: list[Operation], call: Call) -> None:
    upstash.faults.add("server_error")
    with Store(upstash.url, upstash.token, retries=1, on_operation=told.append) as store:
        with pytest.raises(ServerError) as caught:
            call(store.session("s"), "read")
        assert store.stats().errors == {type(caught.value).__name__: 1}
    (operation,) = told
    assert operation.error is caught.value
    assert (operation.name, operation.requests, operation.retries, operation.commands) == ("read", 2, 1, 0)


def test_where_there_is_no_server_requests_were_tried(told: list[Operation], call: Call) -> None:
    store = Store("http://127.0.0.1:1", "t", retries=0, on_operation=told.append)
    with store, pytest.raises(ConnectionFailed):
        call(store.session("s"), "read")
    assert [(operation.requests, operation.bytes_sent) for operation in told] == [(1, 0)]


def test_a_closed_store_tells_of_what_it_refuses(upstash: LocalUpstash, told: list[Operation], call: Call) -> None:
    store = Store(upstash.url, upstash.token, on_operation=told.append)
    store.close()
    with pytest.raises(StoreClosed):
        call(store.session("s"), "read")
    assert [(operation.requests, type(operation.error)) for operation in told] == [(0, StoreClosed)]


def test_an_error_of_the_hook_is_logged_and_disturbs_nothing(
    upstash: LocalUpstash, call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(operation: Operation) -> None:
        raise RuntimeError("the hook's own")

    with Store(upstash.url, upstash.token, on_operation=broken) as store:
        call(store.session("s"), "append", _records(SECRET))
        assert len(call(store.session("s"), "records")) == 1
        command(upstash, "SET", "message_store:other", SECRET)
        with pytest.raises(WrongType):
            call(store.session("other"), "read")
        assert store.stats().operations == {"append": 1, "read": 2}
    logged = [entry for entry in caplog.records if entry.name == "chatstash" and entry.levelno == logging.ERROR]
    assert len(logged) == 3
    assert "the hook's own" in caplog.text
    assert SECRET not in caplog.text
    assert "WrongType" not in caplog.text


async def _never(operation: Operation) -> None:
    """A hook that would never run."""


@pytest.mark.parametrize("hook", [3, "print", _never])
def test_a_hook_that_is_no_plain_function_is_refused(upstash: LocalUpstash, hook: Any) -> None:
    with pytest.raises(ValueError, match="on_operation"):
        Store(upstash.url, upstash.token, on_operation=hook)


def test_the_hook_is_called_by_the_thread_or_task_that_asked(upstash: LocalUpstash) -> None:
    seen: list[object] = []
    with Store(upstash.url, upstash.token, on_operation=lambda _: seen.append(threading.get_ident())) as store:
        store.session("s").read()
    assert seen == [threading.get_ident()]

    async def within() -> None:
        tasks: list[object] = []
        async with Store(upstash.url, upstash.token, on_operation=lambda _: tasks.append(asyncio.current_task())) as it:
            await it.session("s").aread()
        assert tasks == [asyncio.current_task()]

    asyncio.run(within())


def test_threads_lose_no_count(upstash: LocalUpstash, store: Store) -> None:
    def work() -> None:
        for _ in range(50):
            store.session("s").read()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (store.stats().operations, store.stats().requests) == ({"read": 400}, 400)


def test_a_cancelled_operation_counts(upstash: LocalUpstash, told: list[Operation]) -> None:
    async def cancel() -> StoreStats:
        async with Store(upstash.url, upstash.token, on_operation=told.append) as store:
            session = store.session("s")
            await session.aread()
            upstash.faults.next("delay", held=True)
            reading = asyncio.create_task(session.aread())
            await asyncio.to_thread(upstash.wait_until_held)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            return store.stats()

    counted = asyncio.run(cancel())
    assert (counted.operations, counted.errors) == ({"read": 2}, {"CancelledError": 1})
    assert [(operation.requests, type(operation.error)) for operation in told] == [
        (1, type(None)), (1, asyncio.CancelledError)
    ]  # fmt: skip


def test_an_operation_nobody_waits_for_any_more_counts(upstash: LocalUpstash, told: list[Operation]) -> None:
    async def abandon() -> None:
        async with Store(upstash.url, upstash.token, on_operation=told.append) as store:
            await store.session("s").aread()
            upstash.faults.next("delay", held=True)
            waiting = store.session("s").aread()
            waiting.send(None)
            waiting.close()

    asyncio.run(abandon())
    assert [type(operation.error) for operation in told] == [type(None), GeneratorExit]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_begins_at_0_and_the_parent_goes_on(upstash: LocalUpstash, store: Store) -> None:
    store.session("s").read()
    reading, writing = os.pipe()
    with store._database._instrumentation._lock:  # as if another thread held it
        child = os.fork()
        if child == 0:
            try:
                store.session("s").read()
                os.write(writing, repr(dict(store.stats().operations)).encode())
            finally:
                os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100) == b"{'read': 1}"
    os.close(reading)
    os.close(writing)
    store.session("s").read()
    assert store.stats().operations == {"read": 2}


def test_a_store_that_was_pickled_begins_at_0_and_tells_nobody(
    upstash: LocalUpstash, told: list[Operation], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in upstash.environment.items():
        monkeypatch.setenv(name, value)
    with Store(on_operation=told.append) as store:
        store.session("s").read()
        with pickle.loads(pickle.dumps(store)) as other:
            other.session("s").read()
            assert other.stats().operations == {"read": 1}
    assert len(told) == 1


def test_histories_without_a_store_are_counted_together(upstash: LocalUpstash, call: Call) -> None:
    before = Store.shared(upstash.url, upstash.token).stats()
    for name in ("a", "b"):
        history = UpstashRedisChatMessageHistory(name, upstash.url, upstash.token, ttl=60)
        call(history, "messages")
        call(history, "add_messages", [HumanMessage("q"), AIMessage("a")])
    counted = Store.shared(upstash.url, upstash.token).stats()
    assert (counted.requests - before.requests, counted.commands - before.commands) == (4, 6)
    assert counted.operations["append"] - before.operations.get("append", 0) == 2
