"""A conversation against a list: whatever is done in whatever order, under whatever faults, it reads as the list."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from langchain_core.messages import BaseMessage, HumanMessage

from chatstash import (
    Applied,
    Budget,
    ConcurrentTurn,
    DatabaseError,
    IdempotencyConflict,
    Outcome,
    OutcomeUnknown,
    RetryPolicy,
    Store,
    UpstashRedisChatMessageHistory,
)
from chatstash.local import LocalUpstash, limits_of
from tests.conftest import Call, call_async, call_sync, command

MENDED: dict[str, dict[str, Any]] = {
    "delay": {"seconds": 0.001},
    "reply_lost": {},
    "request_lost": {},
    "applied_late": {"held": True},
    "reset": {"applied": True},
    "truncated": {},
    "unavailable": {"applied": True},
    "server_error": {},
    "throttled": {},
}
STORED = {"reply_lost", "reset", "truncated", "unavailable"}

colours = st.sampled_from([call_sync, call_async])
sizes = st.integers(1, 4)
keys = st.sampled_from(["one", "two", "three"])
faults = st.lists(st.sampled_from([None, *MENDED]), max_size=3)


class Conversation(RuleBasedStateMachine):
    """Two clients of one conversation, and the list that it should be."""

    upstash: LocalUpstash
    number = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).number += 1
        at_once = Budget(retries=12, first_pause=0.0)
        policy = RetryPolicy(at_once, at_once, at_once)
        self.stores = [
            Store(
                self.upstash.url,
                self.upstash.token,
                retry_policy=policy,
                max_request_bytes=100_000,
                on_corrupt="skip",
            )
            for _ in range(2)
        ]
        self.ours, self.others = (
            UpstashRedisChatMessageHistory(f"model-{self.number}", store=store) for store in self.stores
        )
        self.expected: list[str] = []
        self.used: dict[str, list[str]] = {}
        self.written = 0

    def teardown(self) -> None:
        self.let_late_ones_land()
        found = _texts(self.ours.messages)
        for store in self.stores:
            store.close()
        assert found == self.expected

    def fresh(self, size: int, filler: str = "") -> list[str]:
        self.written += size
        return [f"{number}{filler}" for number in range(self.written - size, self.written)]

    @rule()
    def let_late_ones_land(self) -> None:
        self.upstash.faults.clear()
        self.upstash.release()

    def plan(self, kinds: list[str | None]) -> None:
        """Plan faults of the next requests; those that are left over meet whatever comes then."""
        for kind in kinds:
            self.upstash.faults.next(kind, **MENDED.get(kind or "", {}))  # type: ignore[arg-type]

    @rule(call=colours, size=sizes, kinds=faults)
    def append(self, call: Call, size: int, kinds: list[str | None]) -> None:
        texts = self.fresh(size)
        self.plan(kinds)
        call(self.ours, "add_messages", _messages(texts))
        self.expected += texts

    @rule(call=colours, kinds=faults)
    def append_large(self, call: Call, kinds: list[str | None]) -> None:
        texts = self.fresh(3, "." * 45_000)
        self.plan(kinds)
        call(self.ours, "add_messages", _messages(texts))
        self.expected += texts

    @rule(call=colours, size=sizes, key=keys, kinds=faults)
    def append_with_key(self, call: Call, size: int, key: str, kinds: list[str | None]) -> None:
        self.plan(kinds)
        texts = self.used.get(key)
        if texts is None:
            texts = self.used[key] = self.fresh(size)
            self.expected += texts
        call(self.ours, "add_messages", _messages(texts), idempotency_key=key)
        call(self.others, "add_messages", _messages(texts), idempotency_key=key)

    @precondition(lambda self: self.used)
    @rule(call=colours, data=st.data())
    def append_something_else_with_key(self, call: Call, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.used)))
        with pytest.raises(IdempotencyConflict):
            call(self.ours, "add_messages", _messages(self.fresh(1)), idempotency_key=key)

    @rule(call=colours, size=sizes, kind=st.sampled_from([kind for kind in MENDED if kind != "applied_late"]))
    def append_that_gives_up(self, call: Call, size: int, kind: str) -> None:
        self.let_late_ones_land()
        hasty = UpstashRedisChatMessageHistory(self.ours.session_id, retries=0, store=self.stores[0])
        texts = self.fresh(size)
        self.upstash.faults.next(kind, **MENDED[kind])  # type: ignore[arg-type]
        try:
            call(hasty, "add_messages", _messages(texts))
        except OutcomeUnknown as error:
            outcome = call(self.others, "check_outcome", error, in_flight_seconds=0)
            assert outcome is (Outcome.STORED if kind in STORED else Outcome.NOT_STORED)
            if outcome is Outcome.NOT_STORED:
                return
        except DatabaseError as error:
            assert (kind, error.applied) == ("throttled", Applied.NO)
            return
        else:
            assert kind == "delay"
        self.expected += texts

    @rule(call=colours)
    def clear(self, call: Call) -> None:
        # What lands after a clear comes back: see test_limits.
        self.let_late_ones_land()
        call(self.ours, "clear")
        self.expected = []

    @rule(call=colours, kind=st.sampled_from(["reply_lost", "request_lost", "server_error"]))
    def clear_under_a_fault(self, call: Call, kind: str) -> None:
        self.let_late_ones_land()
        self.upstash.faults.next(kind)  # type: ignore[arg-type]
        call(self.ours, "clear")
        self.expected = []

    @rule(size=sizes, kinds=st.lists(st.sampled_from([k for k in MENDED if k != "applied_late"]), max_size=2))
    def turn(self, size: int, kinds: list[str]) -> None:
        self.let_late_ones_land()
        texts = self.fresh(size)
        with self.ours.guarded_turn() as turn:
            assert _texts(turn.messages) == self.expected
            turn.add_messages(_messages(texts))
            for kind in kinds:
                self.upstash.faults.next(kind, **MENDED[kind])  # type: ignore[arg-type]
        self.expected += texts

    @rule(call=colours, size=sizes)
    def turn_with_a_concurrent_append(self, call: Call, size: int) -> None:
        self.let_late_ones_land()
        texts = self.fresh(size)
        with pytest.raises(ConcurrentTurn) as caught, self.ours.guarded_turn() as turn:
            turn.add_messages(_messages(self.fresh(1)))
            call(self.others, "add_messages", _messages(texts))
        assert _texts(caught.value.messages) == texts
        self.expected += texts

    @rule(bad=st.sampled_from(["{", "[]", '{"type": "human"}', '{"type": "no such", "data": {}}']))
    def corrupt(self, bad: str) -> None:
        self.upstash.faults.clear()
        command(self.upstash, "LPUSH", self.ours.key, bad)

    @rule()
    def append_of_another_library(self) -> None:
        self.upstash.faults.clear()
        (text,) = self.fresh(1)
        command(self.upstash, "LPUSH", self.ours.key, f'{{"type": "human", "data": {{"content": "{text}"}}}}')
        self.expected.append(text)

    @precondition(lambda self: self.used)
    @rule(call=colours, data=st.data())
    def settle_by_key(self, call: Call, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.used)))
        assert call(self.others, "check_outcome", key) is Outcome.STORED
        assert call(self.others, "check_outcome", "never used") is Outcome.STILL_POSSIBLE
        assert call(self.others, "check_outcome", "never used", in_flight_seconds=0) is Outcome.NOT_STORED

    @rule(call=colours, kinds=faults)
    def read(self, call: Call, kinds: list[str | None]) -> None:
        self.plan(kinds)
        assert _texts(call(self.ours, "messages")) == self.expected

    @rule(call=colours)
    def read_elsewhere(self, call: Call) -> None:
        assert _texts(call(self.others, "read").messages) == self.expected


def _messages(texts: list[str]) -> list[BaseMessage]:
    return [HumanMessage(text) for text in texts]


def _texts(messages: list[BaseMessage]) -> list[str]:
    return [str(message.content) for message in messages]


@pytest.mark.timeout(600)  # what fails is made smaller first, which takes its time
def test_a_conversation_is_the_list_it_should_be() -> None:
    # Replies over 300 kB are refused, so that larger conversations are read in pages.
    with LocalUpstash(plan=limits_of("payg", max_request_bytes=300_000)) as upstash:
        Conversation.upstash = upstash
        run_state_machine_as_test(
            Conversation,
            settings=settings(
                max_examples=35,
                stateful_step_count=25,
                derandomize=True,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
