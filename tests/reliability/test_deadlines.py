"""Every public operation ends at its deadline if the server never answers, or answers byte by byte for minutes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from chatstash import DatabaseError, OutcomeUnknown, Record, Store, UpstashRedisChatMessageHistory
from tests.conftest import call_sync
from tests.faulty import Exchange, FaultyServer

TIMEOUT = 1.0
MESSAGES = [HumanMessage("x")]
LARGE = [HumanMessage("x" * 60_000) for _ in range(3)]


def _never(exchange: Exchange) -> None:
    exchange.wait(600)


def _byte_by_byte(exchange: Exchange) -> None:
    exchange.drip(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 613\r\n\r\n", 0.0)
    exchange.drip(b'{"result":' + b" " * 600 + b"[]}", 0.5)


def _head_byte_by_byte(exchange: Exchange) -> None:
    exchange.drip(b"HTTP/1.1 200 OK\r\nx-filler: " + b"x" * 600, 0.5)


def _lost() -> OutcomeUnknown:
    error = OutcomeUnknown("lost")
    error.key, error.record_ids = "message_store:s", ("AZNx3k0Qp7Zb1c2d.0/1",)
    return error


HISTORY_OPERATIONS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("messages", (), {}),
    ("read", (), {}),
    ("records", (), {}),
    ("add_messages", (MESSAGES,), {}),
    ("add_messages", (MESSAGES,), {"idempotency_key": "evt"}),
    ("add_messages", (LARGE,), {}),
    ("check_outcome", (_lost(),), {}),
    ("check_outcome", ("evt",), {}),
    ("clear", (), {}),
]


@pytest.fixture(params=[_never, _byte_by_byte, _head_byte_by_byte])
def server(request: pytest.FixtureRequest, faulty: Callable[..., FaultyServer]) -> FaultyServer:
    return faulty(request.param)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("retries", [0, 3])
def test_every_operation_ends_with_its_time(server: FaultyServer, retries: int) -> None:
    """All at once, each in its own thread or task. Nothing but its deadline ends an operation."""
    asyncio.run(_all_of(server, retries))


async def _all_of(server: FaultyServer, retries: int) -> None:
    store = Store(server.url, "t", timeout=TIMEOUT, retries=retries, ttl=60, max_request_bytes=100_000)
    history = UpstashRedisChatMessageHistory("s", store=store)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2 * len(HISTORY_OPERATIONS)))
    async with asyncio.TaskGroup() as tasks:
        for member, args, options in HISTORY_OPERATIONS:
            asynchronous = {"messages": "aget_messages"}.get(member, f"a{member}")
            tasks.create_task(_fails(getattr(history, asynchronous)(*args, **options)))
            tasks.create_task(_fails(asyncio.to_thread(call_sync, history, member, *args, **options)))
        tasks.create_task(_fails(_turn(history)))
        tasks.create_task(_fails(asyncio.to_thread(_enter, history)))
        session = store.session("s")
        tasks.create_task(_fails(session.aappend([Record("human", {"content": "x"})])))
    await store.aclose()


async def _turn(history: UpstashRedisChatMessageHistory) -> None:
    async with history.guarded_turn():
        pass


def _enter(history: UpstashRedisChatMessageHistory) -> None:
    with history.guarded_turn():
        pass


async def _fails(operation: Any) -> None:
    with pytest.raises(DatabaseError):
        await operation
