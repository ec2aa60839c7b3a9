"""Tests of chat.py against a local Upstash: no account, no network, no Docker, nothing mocked.

    pip install 'chatstash[local]' pytest
    pytest

The fixture `upstash_environment` starts a server, empties it for each test, and sets UPSTASH_REDIS_REST_URL and
UPSTASH_REDIS_REST_TOKEN.
"""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from chat import aanswer, answer

from chatstash import OutcomeUnknown, UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash


@pytest.fixture(autouse=True)
def _local_upstash(upstash_environment: LocalUpstash) -> None:
    """Lets every test of this file use the local server."""


def test_a_conversation_continues() -> None:
    assert answer("ada", "Hello") == "You have asked 1 questions."
    assert answer("ada", "And now?") == "You have asked 2 questions."
    assert answer("grace", "Hello") == "You have asked 1 questions."


def test_a_turn_costs_two_requests_and_three_commands(upstash: LocalUpstash) -> None:
    answer("ada", "Hello")
    assert (upstash.stats.requests, upstash.stats.billed_commands) == (2, 3)
    assert upstash.log[1].commands == ("LPUSH message_store:ada", "EXPIRE message_store:ada")


def test_a_slow_network(upstash: LocalUpstash) -> None:
    upstash.faults.add("delay", seconds=0.05)
    assert answer("ada", "Hello") == "You have asked 1 questions."
    assert [request.fault for request in upstash.log] == ["delay", "delay"]


def test_a_busy_database_is_retried(upstash: LocalUpstash) -> None:
    upstash.faults.next("throttled", "unavailable", matching="LRANGE")
    assert answer("ada", "Hello") == "You have asked 1 questions."


def test_a_lost_reply_stores_the_turn_once(upstash: LocalUpstash) -> None:
    upstash.faults.next("reply_lost", matching="LPUSH")
    with contextlib.suppress(OutcomeUnknown):
        answer("ada", "Hello")
    assert len(UpstashRedisChatMessageHistory("ada").messages) == 2


def test_async(upstash: LocalUpstash) -> None:
    async def two_at_once() -> None:
        await asyncio.gather(aanswer("ada", "Hello"), aanswer("grace", "Hello"))

    asyncio.run(two_at_once())
    assert upstash.stats.requests == 4
