"""Tests of chat.py against a local Upstash: no account, no network, no Docker, nothing mocked.

    pip install 'chatstash[local]' pytest
    pytest

`upstash_environment` starts a server, sets UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN, and hands the server
over, emptied for each test.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest
from chat import aanswer, answer

from chatstash import OutcomeUnknown, UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash


@pytest.fixture(autouse=True)
def _everywhere(upstash_environment: LocalUpstash) -> None:
    """Every test of this file talks to the local server."""


def test_a_conversation_goes_on() -> None:
    assert answer("ada", "Hello") == "You have asked 1 questions."
    assert answer("ada", "And now?") == "You have asked 2 questions."
    assert answer("grace", "Hello") == "You have asked 1 questions."


def test_a_turn_costs_two_requests_and_three_commands(upstash: LocalUpstash) -> None:
    answer("ada", "Hello")
    assert (upstash.stats.requests, upstash.stats.billed_commands) == (2, 3)
    assert upstash.log[1].commands == ("LPUSH message_store:ada", "EXPIRE message_store:ada")


def test_a_slow_network_is_waited_for(upstash: LocalUpstash) -> None:
    upstash.faults.add("delay", seconds=0.05)
    start = time.monotonic()
    answer("ada", "Hello")
    assert time.monotonic() - start >= 0.1


def test_a_busy_database_is_asked_again(upstash: LocalUpstash) -> None:
    upstash.faults.next("throttled", "unavailable", matching="LRANGE")
    assert answer("ada", "Hello") == "You have asked 1 questions."


def test_a_reply_that_is_lost_is_never_taken_for_an_answer(upstash: LocalUpstash) -> None:
    upstash.faults.next("reply_lost", matching="LPUSH")
    with contextlib.suppress(OutcomeUnknown):
        answer("ada", "Hello")
    assert len(UpstashRedisChatMessageHistory("ada").messages) == 2


def test_async_as_well(upstash: LocalUpstash) -> None:
    async def two_at_once() -> None:
        await asyncio.gather(aanswer("ada", "Hello"), aanswer("grace", "Hello"))

    asyncio.run(two_at_once())
    assert upstash.stats.requests == 4
