"""What langchain-community's class stores and reads back equal, chatstash does too, both ways; with the real class."""

from __future__ import annotations

import contextlib
import functools
import json
import math
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from langchain_community.chat_message_histories import (
    UpstashRedisChatMessageHistory as CommunityHistory,
)
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    message_to_dict,
    messages_from_dict,
)

from chatstash import UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash
from tests.conftest import Call
from tests.strategies import EVERY_KIND, equal, messages

Pair = Callable[[str], tuple[UpstashRedisChatMessageHistory, CommunityHistory]]


@pytest.fixture
def pair(upstash: LocalUpstash) -> Iterator[Pair]:
    """Make both classes' histories of one session; the old one's client is closed, which it does not do itself."""
    opened = contextlib.ExitStack()

    @functools.cache
    def make(session_id: str) -> tuple[UpstashRedisChatMessageHistory, CommunityHistory]:
        ours = UpstashRedisChatMessageHistory(session_id, upstash.url, upstash.token)
        theirs = CommunityHistory(session_id, upstash.url, upstash.token)
        opened.callback(theirs.redis_client.close)
        assert ours.key == theirs.key
        return ours, theirs

    with opened:
        yield make


STORED = [message for message in EVERY_KIND if not isinstance(message, RemoveMessage)]
"""Here, a RemoveMessage removes."""


@pytest.mark.parametrize("message", STORED, ids=lambda message: message.type)
def test_each_kind_written_here_is_read_there(pair: Pair, either: Call, message: BaseMessage) -> None:
    ours, theirs = pair("a")
    either(ours, "add_messages", [message])
    assert equal(theirs.messages, [message])
    assert equal(either(ours, "messages"), [message])


@pytest.mark.parametrize("message", EVERY_KIND, ids=lambda message: message.type)
def test_each_kind_written_there_is_read_here(pair: Pair, either: Call, message: BaseMessage) -> None:
    ours, theirs = pair("a")
    theirs.add_message(message)
    assert equal(either(ours, "messages"), theirs.messages)
    assert equal(either(ours, "messages"), [message])


def test_all_kinds_in_one_conversation(pair: Pair) -> None:
    ours, theirs = pair("a")
    ours.add_messages(STORED)
    for message in EVERY_KIND:
        theirs.add_message(message)
    assert equal(ours.messages, [*STORED, *EVERY_KIND])
    assert equal(theirs.messages, [*STORED, *EVERY_KIND])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_messages=messages())
def test_any_sequence(pair: Pair, given_messages: list[BaseMessage]) -> None:
    """Whatever the old class reads back equal: its codec is the yardstick, the real one in both directions."""
    kept = [message for message in given_messages if _survives_community(message)]
    ours, theirs = pair("any")
    ours.clear()
    ours.add_messages(kept)
    assert equal(theirs.messages, kept)
    assert equal(ours.messages, kept)
    theirs.clear()
    for message in kept:
        theirs.add_message(message)
    assert equal(ours.messages, kept)


def _survives_community(message: BaseMessage) -> bool:
    return equal(messages_from_dict([json.loads(json.dumps(message_to_dict(message)))]), [message])


NUMBERS = {
    "nan": math.nan,
    "infinity": math.inf,
    "minus infinity": -math.inf,
    "beyond 64 bits": 2**70 + 1,
    "negative beyond 64 bits": -(2**100),
    "64 bits": 2**63,
    "tiny": 5e-324,
    "minus zero": -0.0,
}


@pytest.mark.parametrize("value", NUMBERS.values(), ids=NUMBERS)
def test_numbers_that_json_libraries_change_are_kept(pair: Pair, either: Call, value: float) -> None:
    message = HumanMessage("x", additional_kwargs={"value": value, "deep": [{"value": value}]})
    ours, theirs = pair("n")
    either(ours, "add_messages", [message])
    theirs.add_message(message)
    for read in (either(ours, "messages"), theirs.messages):
        assert equal(read, [message, message])
        assert type(read[0].additional_kwargs["value"]) is type(value)


TEXTS = [
    "",
    "\x00",
    "\ud800",
    "a\udfffb",
    "😀 é 漢",
    '"\\\n\r\t',
    "\u2028\u2029",
    "\x7f\x80\x9f",
    "null",
    "NaN",
    "[1, 2]",
]


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_any_text_is_kept(pair: Pair, either: Call, text: str) -> None:
    message = AIMessage("x", response_metadata={"text": text, text or "key": 1})
    ours, theirs = pair("t")
    either(ours, "add_messages", [message])
    assert theirs.messages == [message]
    assert either(ours, "messages") == [message]


def test_what_a_custom_subclass_adds_is_kept_as_the_old_class_keeps_it(pair: Pair) -> None:
    class Titled(HumanMessage):
        title: str = "untitled"
        name: str | None = "somebody"

    ours, theirs = pair("c")
    ours.add_message(Titled("x"))
    theirs.add_message(Titled("x"))
    first, second = ours.messages
    assert first == second == HumanMessage("x", title="untitled", name="somebody")


def test_clearing_on_one_side_clears_the_other(pair: Pair, call: Call) -> None:
    ours, theirs = pair("d")
    theirs.add_user_message("x")
    call(ours, "clear")
    assert theirs.messages == []


def test_what_the_old_class_costs(upstash: LocalUpstash) -> None:
    """The other side of the README's table."""
    with contextlib.ExitStack() as opened:

        def history(session_id: str) -> CommunityHistory:
            made = CommunityHistory(session_id, upstash.url, upstash.token, ttl=60)
            opened.callback(made.redis_client.close)
            return made

        before = upstash.stats
        theirs = history("turn")
        _ = theirs.messages
        theirs.add_messages([HumanMessage("question"), AIMessage("answer")])
        turn = upstash.stats - before
        assert (turn.requests, turn.commands) == (5, 5)
        theirs.add_messages([HumanMessage("x")] * 50)
        assert (upstash.stats - before).requests == 5 + 100
        before = upstash.stats
        for number in range(20):
            _ = history(f"s{number}").messages
        assert (upstash.stats - before).connections == 20
