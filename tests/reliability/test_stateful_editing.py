"""Editing against a list: whatever is done in whatever order, under whatever faults, every cache reads the list."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from chatstash import (
    Budget,
    ConcurrentTurn,
    ConversationExists,
    EditResult,
    MessageNotFound,
    RetryPolicy,
    Store,
    UpstashRedisChatMessageHistory,
)
from chatstash.local import LocalUpstash
from tests.conftest import Call, call_async, call_sync, command

MENDED: dict[str, dict[str, Any]] = {
    "reply_lost": {},
    "request_lost": {},
    "reset": {"applied": True},
    "truncated": {},
    "unavailable": {"applied": True},
    "server_error": {},
    "throttled": {},
    "applied_late": {"held": True},
    "replayed": {"held": True},
}

colours = st.sampled_from([call_sync, call_async])
faults = st.lists(st.sampled_from([None, *MENDED]), max_size=3)
picks = st.integers(0, 10**6)
_names = itertools.count()


class Item(NamedTuple):
    """A record of the model: its name in the model, the text that readers see, and whether it has a record id."""

    name: str
    text: str | None
    has_id: bool = True


class Aside(NamedTuple):
    """Records that were put aside, and the name of the record before them, None for the beginning."""

    anchor: str | None
    items: list[Item]


class Editing(RuleBasedStateMachine):
    """Two caching clients of one conversation, and the list that it should be."""

    upstash: LocalUpstash
    options: dict[str, Any]

    def __init__(self) -> None:
        super().__init__()
        at_once = Budget(retries=12, first_pause=0.0)
        policy = RetryPolicy(at_once, at_once, at_once)
        self.stores = [
            Store(
                self.upstash.url, self.upstash.token, retry_policy=policy, max_request_bytes=100_000,
                on_corrupt="skip", cache_bytes=10**7, **self.options,
            )
            for _ in range(2)
        ]  # fmt: skip
        self.expected: list[Item] = []
        self.aside: list[Aside] = []
        self.used: dict[str, list[BaseMessage]] = {}
        self.left: list[tuple[UpstashRedisChatMessageHistory, list[Item]]] = []
        self.written = self.reads = 0
        self.open(f"editing-{next(_names)}")

    def open(self, name: str) -> None:
        self.ours, self.others = (
            UpstashRedisChatMessageHistory(name, user_id="u", store=store) for store in self.stores
        )

    def teardown(self) -> None:
        self.let_late_ones_land()
        self.every_way_of_reading_shows_the_list()
        for history, expected in self.left:
            assert _texts(history.messages) == _shown(expected)
        for store in self.stores:
            store.close()

    @property
    def is_strict(self) -> bool:
        return self.options["delivery"] == "strict"

    def fresh(self, size: int, filler: str = "") -> list[BaseMessage]:
        self.written += size
        numbers = range(self.written - size, self.written)
        return [(HumanMessage, AIMessage)[number % 2](f"{number}{filler}", id=f"m{number}") for number in numbers]

    def add(self, messages: list[BaseMessage]) -> None:
        self.expected += [Item(str(message.id), str(message.content)) for message in messages]

    def plan(self, kinds: list[str | None]) -> None:
        """Plan faults of the next requests; those that are left over meet whatever comes then."""
        for kind in kinds:
            options = MENDED.get(kind or "", {})
            # A window may show what a proxy repeats later: docs/reliability.md.
            at_once = kind == "replayed" and not self.is_strict
            self.upstash.faults.next(kind, **({} if at_once else options))  # type: ignore[arg-type]

    def before_a_removal(self, kinds: list[str | None]) -> None:
        """With standard delivery, what is removed comes back if it arrives afterwards: docs/reliability.md."""
        if not self.is_strict:
            self.let_late_ones_land()
        self.plan(kinds)

    def named(self, pick: int, by: int) -> tuple[int, Any]:
        """Return the place of a record, and what names it."""
        places = [place for place, item in enumerate(self.expected) if item.text is not None]
        place = places[pick % len(places)]
        item = self.expected[place]
        if item.has_id and by % 3:
            return place, item.name
        (record,) = (record for record in self.others.records() if str(record.data["content"]) == item.text)
        return place, record.id if record.id is not None and by % 2 else record

    has_items = precondition(lambda self: any(item.text is not None for item in self.expected))

    @rule()
    def let_late_ones_land(self) -> None:
        self.upstash.faults.clear()
        self.upstash.release()

    @rule(call=colours, size=st.integers(1, 4), kinds=faults)
    def append(self, call: Call, size: int, kinds: list[str | None]) -> None:
        messages = self.fresh(size)
        self.plan(kinds)
        call(self.ours, "add_messages", messages)
        self.add(messages)

    @rule(call=colours, kinds=faults)
    def append_large(self, call: Call, kinds: list[str | None]) -> None:
        messages = self.fresh(3, "." * 45_000)
        self.plan(kinds)
        call(self.others, "add_messages", messages)
        self.add(messages)

    @rule(call=colours, key=st.sampled_from("abc"), kinds=faults)
    def append_with_key(self, call: Call, key: str, kinds: list[str | None]) -> None:
        self.plan(kinds)
        if key not in self.used:
            self.used[key] = self.fresh(2)
            self.add(self.used[key])
        call(self.ours, "add_messages", self.used[key], idempotency_key=key)
        call(self.others, "add_messages", self.used[key], idempotency_key=key)

    @rule(is_record=st.booleans())
    def append_of_another_library(self, is_record: bool) -> None:
        self.upstash.faults.clear()
        (message,) = self.fresh(1)
        data = {"content": message.content, "id": message.id}
        raw = json.dumps({"type": "human", "data": data}) if is_record else "{" + str(message.content)
        command(self.upstash, "LPUSH", self.ours.key, raw)
        self.expected.append(Item(str(message.id), str(message.content) if is_record else None, has_id=False))

    @rule(kinds=faults, is_disturbed=st.booleans(), size=st.integers(1, 3))
    def turn(self, kinds: list[str | None], is_disturbed: bool, size: int) -> None:
        self.let_late_ones_land()
        messages = self.fresh(size)
        if is_disturbed:
            others = self.fresh(1)
            with pytest.raises(ConcurrentTurn), self.ours.guarded_turn() as turn:
                turn.add_messages(messages)
                self.others.add_messages(others)
            return self.add(others)
        with self.ours.guarded_turn() as turn:
            assert _texts(turn.messages) == _shown(self.expected)
            turn.add_messages(messages)
            self.plan(kinds)
        return self.add(messages)

    @has_items
    @rule(pick=picks, by=picks, kinds=faults, size=st.integers(0, 3))
    def regenerate(self, pick: int, by: int, kinds: list[str | None], size: int) -> None:
        self.let_late_ones_land()
        place, name = self.named(pick, by)
        messages = self.fresh(size)
        with self.ours.guarded_turn(replacing=name) as turn:
            assert _texts(turn.messages) == _shown(self.expected[:place])
            turn.add_messages(messages)
            self.plan(kinds)
        if messages:
            self.put_aside(place)
            self.add(messages)

    def put_aside(self, place: int) -> None:
        if tail := self.expected[place:]:
            self.aside.append(Aside(self.anchor_at(place), tail))
        del self.expected[place:]

    def anchor_at(self, place: int) -> str | None:
        return self.expected[place - 1].name if place else None

    @has_items
    @rule(call=colours, pick=picks, by=picks, which=picks, kinds=faults)
    def switch(self, call: Call, pick: int, by: int, which: int, kinds: list[str | None]) -> None:
        self.before_a_removal([])
        place, name = self.named(pick, by)
        known = [each for each in self.aside if each.anchor == self.anchor_at(place)]
        found = call(self.others, "alternatives", name)
        assert [_texts(each.items) for each in found] == [_shown(each.items) for each in known]
        if found:
            self.plan(kinds)
            result = call(self.ours, "switch_to", found[which % len(found)])
            chosen = known[which % len(found)]
            assert result.removed == len(self.expected) - place
            self.put_aside(place)
            self.expected += chosen.items
            self.aside.remove(chosen)
            with pytest.raises(MessageNotFound):
                call(self.others, "switch_to", found[which % len(found)])

    @has_items
    @rule(call=colours, pick=picks, by=picks, kinds=faults)
    def replace(self, call: Call, pick: int, by: int, kinds: list[str | None]) -> None:
        self.before_a_removal([])
        place, name = self.named(pick, by)
        (message,) = self.fresh(1)
        self.plan(kinds)
        item = self.expected[place]
        call(self.ours, "replace_message", name, HumanMessage(message.content))
        self.expected[place] = item._replace(text=str(message.content))
        if not item.has_id:
            self.aside = [each for each in self.aside if each.anchor != item.name]

    @has_items
    @rule(call=colours, first=picks, second=picks, by=picks, kinds=faults)
    def delete(self, call: Call, first: int, second: int, by: int, kinds: list[str | None]) -> None:
        self.before_a_removal([])
        found = dict([self.named(first, by), self.named(second, by // 7)])
        self.plan(kinds)
        with pytest.raises(MessageNotFound):
            call(self.others, "delete_messages", *found.values(), "no such message")
        self.is_edited(call(self.ours, "delete_messages", *found.values()), len(found))
        self.expected = [item for place, item in enumerate(self.expected) if place not in found]

    @has_items
    @rule(call=colours, pick=picks, by=picks, kinds=faults)
    def truncate(self, call: Call, pick: int, by: int, kinds: list[str | None]) -> None:
        self.before_a_removal([])
        place, name = self.named(pick, by)
        self.plan(kinds)
        call(self.others, "truncate", after=name)
        del self.expected[place + 1 :]

    @rule(call=colours, count=st.integers(1, 4), kinds=faults)
    def pop(self, call: Call, count: int, kinds: list[str | None]) -> None:
        self.before_a_removal(kinds)
        self.is_edited(call(self.ours, "pop", count), min(count, len(self.expected)))
        del self.expected[-count:]

    def is_edited(self, result: EditResult, removed: int) -> None:
        assert result.removed == removed

    @precondition(lambda self: self.expected and self.expected[-1].text is not None)
    @rule(call=colours, kinds=faults)
    def pop_item(self, call: Call, kinds: list[str | None]) -> None:
        self.before_a_removal(kinds)
        assert call(self.ours.session(), "pop_item").content == self.expected.pop().text

    @rule(call=colours, kinds=faults)
    def clear(self, call: Call, kinds: list[str | None]) -> None:
        self.before_a_removal(kinds)
        call(self.others, "clear")
        self.expected, self.aside = [], []

    @has_items
    @rule(call=colours, pick=picks, by=picks, is_part=st.booleans(), goes_on=st.booleans(), kinds=faults)
    def fork(self, call: Call, pick: int, by: int, is_part: bool, goes_on: bool, kinds: list[str | None]) -> None:
        self.before_a_removal([])
        place, name = self.named(pick, by) if is_part else (len(self.expected) - 1, None)
        new = f"editing-{next(_names)}"
        self.plan(kinds)
        call(self.ours, "fork", new, upto=name)
        with pytest.raises(ConversationExists):
            call(self.others, "rename", new)
        copied = self.expected[: place + 1]
        if not goes_on:
            self.left.append((UpstashRedisChatMessageHistory(new, user_id="u", store=self.stores[1]), copied))
            return
        self.let_late_ones_land()
        self.left.append((self.ours, self.expected))
        self.expected, self.aside, self.used = copied, [], {}
        self.open(new)

    @precondition(lambda self: self.expected)
    @rule(call=colours, kinds=faults)
    def rename(self, call: Call, kinds: list[str | None]) -> None:
        self.before_a_removal(kinds)
        new = f"editing-{next(_names)}"
        assert call(self.ours, "rename", new).length >= len(self.expected)
        self.left.append((self.ours, []))
        self.used = {}
        self.open(new)

    @invariant()
    def every_way_of_reading_shows_the_list(self) -> None:
        self.reads += 1
        ways: list[Callable[[], None]] = [
            lambda: self.shows(self.ours.messages, self.expected),
            lambda: self.shows(self.others.messages, self.expected),
            lambda: self.shows(self.ours.read(last=3).messages, self.expected[-3:]),
            lambda: self.shows(self.others.read(last=1).messages, self.expected[-1:]),
            lambda: self.is_counted(self.others.count()),
        ]
        for at in range(len(ways)):
            ways[(self.reads + at) % len(ways)]()

    def shows(self, messages: list[BaseMessage], expected: list[Item]) -> None:
        assert _texts(messages) == _shown(expected), command(self.upstash, "LRANGE", self.ours.key, 0, -1)

    def is_counted(self, count: int) -> None:
        assert count == len(self.expected)


def _texts(messages: list[BaseMessage]) -> list[str]:
    return [str(message.content) for message in messages]


def _shown(items: list[Item]) -> list[str]:
    return [item.text for item in items if item.text is not None]


STANDARD, STRICT = {"delivery": "standard"}, {"delivery": "strict", "ttl": 900}


@pytest.mark.timeout(900)  # what fails is made smaller first, which takes its time
@pytest.mark.parametrize(
    ("options", "examples"),
    [
        (STANDARD, 6),
        (STRICT, 6),
        pytest.param(STANDARD, 200, marks=pytest.mark.long),
        pytest.param(STRICT, 200, marks=pytest.mark.long),
    ],
)
def test_an_edited_conversation_is_the_list_it_should_be(options: dict[str, Any], examples: int) -> None:
    with LocalUpstash() as upstash:
        Editing.upstash, Editing.options = upstash, options
        run_state_machine_as_test(
            Editing,
            settings=settings(
                max_examples=examples,
                stateful_step_count=20,
                derandomize=True,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
