"""What things cost, counted at the server, for both colours."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from chatstash import Cost, Store, UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash
from tests.conftest import Call

TURN = [HumanMessage("question"), AIMessage("answer")]


def _history(upstash: LocalUpstash, **options: object) -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory("s", upstash.url, upstash.token, **options)


def test_a_turn_with_a_ttl_is_two_requests_and_three_commands(upstash: LocalUpstash, call: Call) -> None:
    history = _history(upstash, ttl=60)
    before = upstash.stats
    call(history, "messages")
    call(history, "add_messages", TURN)
    spent = upstash.stats - before
    assert (spent.requests, spent.billed_commands) == (2, 3)


def test_a_turn_without_a_ttl_is_two_requests_and_two_commands(upstash: LocalUpstash, call: Call) -> None:
    history = _history(upstash)
    before = upstash.stats
    call(history, "messages")
    call(history, "add_messages", TURN)
    spent = upstash.stats - before
    assert (spent.requests, spent.billed_commands) == (2, 2)


def test_500_messages_are_one_request(upstash: LocalUpstash, call: Call) -> None:
    history = _history(upstash, ttl=60)
    before = upstash.stats
    call(history, "add_messages", [HumanMessage(str(number)) for number in range(500)])
    spent = upstash.stats - before
    # One command more than after a read: it is not known yet that the key holds no other type.
    assert (spent.requests, spent.billed_commands) == (1, 3)
    assert [message.content for message in history.messages] == [str(number) for number in range(500)]


@pytest.mark.parametrize("nothing", [[], (), iter(())])
def test_an_empty_sequence_is_no_request(upstash: LocalUpstash, either: Call, nothing: object) -> None:
    before = upstash.stats
    either(_history(upstash), "add_messages", nothing)
    assert upstash.stats == before


def test_reading_with_refresh_is_one_request(upstash: LocalUpstash, call: Call) -> None:
    history = _history(upstash, ttl=60, refresh_ttl_on_read=True)
    costs = []
    for _ in range(2):
        before = upstash.stats
        call(history, "messages")
        costs.append(upstash.stats - before)
    assert [(spent.requests, spent.billed_commands) for spent in costs] == [(1, 3), (1, 2)]


def test_clearing_is_one_request(upstash: LocalUpstash, call: Call) -> None:
    before = upstash.stats
    call(_history(upstash), "clear")
    spent = upstash.stats - before
    assert (spent.requests, spent.billed_commands) == (1, 5)


def test_constructing_makes_no_request_and_opens_no_connection(upstash: LocalUpstash) -> None:
    before = upstash.stats
    _history(upstash)
    with Store(upstash.url, upstash.token) as store:
        store.session("s")
    assert upstash.stats == before


def test_the_cost_travels_with_the_result_and_is_what_the_server_saw(upstash: LocalUpstash, call: Call) -> None:
    with Store(upstash.url, upstash.token, ttl=60) as store:
        session = store.session("s")
        before = upstash.stats
        cost: Cost = call(session, "append", []).cost
        cost += call(session, "read").cost
        cost += call(session, "clear").cost
        spent = upstash.stats - before
        if call.__name__ == "call_async":
            asyncio.run(store.aclose())
    assert (cost.requests, cost.commands) == (spent.requests, spent.billed_commands) == (2, 6)
    assert (cost.bytes_sent, cost.bytes_received) == (spent.bytes_received, spent.bytes_sent)


def test_200_histories_used_in_turn_open_one_connection(upstash: LocalUpstash) -> None:
    before = upstash.stats
    for number in range(200):
        UpstashRedisChatMessageHistory(f"s{number}", upstash.url, upstash.token).add_user_message("x")
    spent = upstash.stats - before
    assert spent.requests == 200
    assert spent.connections <= 1


def test_200_histories_used_in_turn_open_one_connection_in_a_loop(upstash: LocalUpstash) -> None:
    async def use() -> None:
        for number in range(200):
            await UpstashRedisChatMessageHistory(f"s{number}", upstash.url, upstash.token).aget_messages()

    before = upstash.stats
    asyncio.run(use())
    assert (upstash.stats - before).connections == 1


@pytest.mark.parametrize(("most", "turns"), [(1, 20), (7, 40), (256, 200)])
def test_turns_at_the_same_time_share_as_many_connections_as_are_permitted(
    upstash: LocalUpstash, most: int, turns: int
) -> None:
    async def use(store: Store) -> None:
        async with store:
            histories = [UpstashRedisChatMessageHistory(f"s{number}", store=store) for number in range(turns)]
            await asyncio.gather(*(history.aadd_messages([HumanMessage("x")]) for history in histories))

    before = upstash.stats
    asyncio.run(use(Store(upstash.url, upstash.token, max_connections=most)))
    spent = upstash.stats - before
    assert spent.requests == turns
    assert 1 <= spent.connections <= min(most, turns)


@pytest.mark.parametrize("most", [0, -1, True, 1.5, "7", None, 65_536])
def test_an_invalid_number_of_connections_is_refused(most: Any) -> None:
    with pytest.raises(ValueError, match="max_connections must be a whole number from 1 to 65535"):
        Store("https://example.upstash.io", "t", max_connections=most)
