"""A request that is never answered, or one byte a second, ends with the operation's time; every public operation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from chatstash import DatabaseError, OutcomeUnknown, Record, Store, UpstashRedisChatMessageHistory
from tests.conftest import call_async, call_sync
from tests.faulty import Exchange, FaultyServer

TIMEOUT = 1.0
SLACK = 10.0
MESSAGES = [HumanMessage("x")]
LARGE = [HumanMessage("x" * 60_000) for _ in range(3)]


def _never(exchange: Exchange) -> None:
    exchange.wait(30)


def _a_byte_a_second(exchange: Exchange) -> None:
    exchange.drip(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n", 0.0)
    exchange.drip(b'{"result":[]}', 1.0)


def _head_a_byte_a_second(exchange: Exchange) -> None:
    exchange.drip(b"HTTP/1.1 200 OK\r\n", 1.0)


def _lost() -> OutcomeUnknown:
    error = OutcomeUnknown("lost")
    error.key, error.record_ids = "message_store:s", ("AZNx3k0Qp7Zb1c2d.0/1",)
    return error


HISTORY_OPERATIONS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "messages": ("messages", (), {}),
    "read": ("read", (), {}),
    "records": ("records", (), {}),
    "add": ("add_messages", (MESSAGES,), {}),
    "add with a key": ("add_messages", (MESSAGES,), {"idempotency_key": "evt"}),
    "add much": ("add_messages", (LARGE,), {}),
    "check_outcome": ("check_outcome", (_lost(),), {}),
    "settle by key": ("check_outcome", ("evt",), {}),
    "clear": ("clear", (), {}),
}


@pytest.fixture(params=[_never, _a_byte_a_second, _head_a_byte_a_second])
def server(request: pytest.FixtureRequest, faulty: Callable[..., FaultyServer]) -> FaultyServer:
    return faulty(request.param)


@pytest.mark.parametrize("retries", [0, 3])
def test_every_operation_ends_with_its_time(server: FaultyServer, retries: int) -> None:
    """All at once, each in a thread or task of its own, so that all of it takes no longer than one."""
    asyncio.run(_all_of(server, retries))


async def _all_of(server: FaultyServer, retries: int) -> None:
    store = Store(server.url, "t", timeout=TIMEOUT, retries=retries, ttl=60, max_request_bytes=100_000)
    history = UpstashRedisChatMessageHistory("s", store=store)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2 * len(HISTORY_OPERATIONS)))
    async with asyncio.TaskGroup() as tasks:
        for name, (member, args, options) in HISTORY_OPERATIONS.items():
            asynchronous = {"messages": "aget_messages"}.get(member, f"a{member}")
            tasks.create_task(_timed(name, getattr(history, asynchronous)(*args, **options)))
            tasks.create_task(_timed(name, asyncio.to_thread(call_sync, history, member, *args, **options)))
        tasks.create_task(_timed("turn", _turn(history)))
        tasks.create_task(_timed("turn", asyncio.to_thread(_enter, history)))
        session = store.session("s")
        tasks.create_task(_timed("append", session.aappend([Record("human", {"content": "x"})])))
    await store.aclose()


async def _turn(history: UpstashRedisChatMessageHistory) -> None:
    async with history.guarded_turn():
        pass


def _enter(history: UpstashRedisChatMessageHistory) -> None:
    with history.guarded_turn():
        pass


async def _timed(name: str, operation: Any) -> None:
    began = time.monotonic()
    with pytest.raises(DatabaseError):
        await operation
    took = time.monotonic() - began
    assert took <= TIMEOUT + SLACK, f"{name} took {took:.2f} s"


@pytest.mark.parametrize("call", [call_sync, call_async])
def test_the_last_attempt_uses_all_of_the_time(faulty: Callable[..., FaultyServer], call: Any) -> None:
    server = faulty(_never)
    history = UpstashRedisChatMessageHistory("s", server.url, "t", timeout=TIMEOUT, retries=0)
    began = time.monotonic()
    with pytest.raises(DatabaseError):
        call(history, "read")
    assert abs(time.monotonic() - began - TIMEOUT) <= SLACK
