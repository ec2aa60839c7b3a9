"""Reading with a snapshot: whatever others did meanwhile, the result is what is stored, in at most one request more."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from chatstash.errors import DatabaseError, ReadOnlyToken, RequestTooLarge
from chatstash.history.cache.snapshot import Snapshot
from chatstash.history.records.encoding import encode
from chatstash.history.records.generation import has_generation
from chatstash.history.records.record import Record, new_record_ids
from chatstash.history.steps.fetch import Fetched, fetch
from chatstash.history.values.options import Options
from chatstash.history.values.selection import Window
from chatstash.rest.commands import Batch, Command, Cost, Replies
from chatstash.rest.ops import Op

KEY = "k"


def ours(number: int, count: int = 1, text: str = "x") -> list[bytes]:
    ids = new_record_ids(count, time_ms=number, randomness=number.to_bytes(6))
    return [encode(Record("human", {"content": f"{text}{rid.position}"}, rid)).encode() for rid in ids]


def foreign(text: str) -> bytes:
    return json.dumps({"type": "human", "data": {"content": text}}).encode()


@dataclass
class Stored:
    """A list as the server keeps it, newest first, and what clients other than the reader do to it."""

    records: list[bytes] = field(default_factory=list)
    appends: list[list[bytes]] = field(default_factory=list)
    number: int = 0
    changes: set[str] = field(default_factory=set)

    def append(self, count: int) -> None:
        self.number += 1
        self.appends.append(ours(self.number, count))
        self.push(self.appends[-1])

    def replay(self, which: int) -> None:
        self.push(self.appends[which % len(self.appends)] if self.appends else [])
        self.changed("copied")

    def push(self, records: Sequence[bytes]) -> None:
        for raw in records:
            self.records.insert(0, raw)

    def changed(self, how: str) -> None:
        """As many copies as others took out of the middle: that is one of the things that only counting up shows."""
        self.changes.add(how)
        if len(self.changes) > 1:
            self.count_up(False)

    def append_foreign(self, text: str) -> None:
        self.records.insert(0, foreign(text))

    def trim(self, most: int) -> None:
        del self.records[most:]

    def pop(self, count: int) -> None:
        for _ in range(count):
            self.remove(0)

    def remove(self, at: int) -> None:
        """With a record its generation would go, so it is counted up, as the doctor does it."""
        if self.records and has_generation(self.records.pop(at % len(self.records))):
            self.count_up(False)
        self.changed("removed")

    def edit(self, at: int, spaced: bool) -> None:
        if self.records:
            place = at % len(self.records)
            fields = json.loads(self.records[place])
            fields["data"]["content"] += " edited"
            self.records[place] = json.dumps(fields).encode()
            self.count_up(spaced)

    def insert(self, at: int) -> None:
        self.number += 1
        self.records.insert(at % (len(self.records) + 1), foreign(f"inserted {self.number}"))
        self.count_up(False)

    def count_up(self, spaced: bool) -> None:
        for place, raw in enumerate(self.records):
            fields = json.loads(raw)
            if "rid" in fields:
                self.number += 1
                fields["g"] = self.number
                self.records[place] = json.dumps(fields, separators=None if spaced else (",", ":")).encode()
                return

    def answer(self, command: Command) -> Any:
        name, _, *numbers = command
        match name, [int(number) for number in numbers]:
            case "GET", []:
                return None
            case "LLEN", []:
                return len(self.records)
            case "LRANGE", [first, last]:
                return self.records[first : None if last == -1 else last + 1]
            case "LINDEX", [at]:
                return self.records[at] if -len(self.records) <= at < len(self.records) else None
        raise AssertionError(command)


def run(op: Op[Fetched], stored: Stored) -> tuple[Fetched, list[Batch]]:
    batches: list[Batch] = []
    try:
        batch = next(op)
        while True:
            batches.append(batch)
            batch = op.send(Replies(tuple(map(stored.answer, batch.commands)), Cost(1, len(batch.commands), 0, 0)))
    except StopIteration as stop:
        return stop.value, batches


def read(stored: Stored, snapshot: Snapshot | None, last: int | None = None, *, keep_system: bool = False) -> Fetched:
    """Read, and check all that must hold of any reading."""
    window = None if last is None else Window(last, keep_system)
    found, batches = run(fetch(KEY, window, Options(), snapshot), stored)
    expected = stored.records[::-1] if last is None else stored.records[: last + 4][::-1]
    assert list(found.stored) == expected
    assert found.length == len(stored.records)
    if window is not None and keep_system:
        assert found.first == (stored.records[-1] if stored.records else None)
    assert len(batches) <= (1 if found.revalidated or snapshot is None else 2)
    return found


def snapshot_of(stored: Stored, last: int | None = None, before: Snapshot | None = None) -> Snapshot | None:
    return read(stored, before, last).snapshot(before)


places = st.integers(0, 60)
STEPS = st.one_of(
    st.tuples(st.just("append"), st.tuples(st.integers(1, 3))),
    st.tuples(st.just("append_foreign"), st.tuples(st.sampled_from(["ok", "yes"]))),
    st.tuples(st.just("trim"), st.tuples(st.integers(8, 30))),
    st.tuples(st.just("trim"), st.tuples(st.integers(0, 8))),
    st.tuples(st.just("pop"), st.tuples(st.integers(0, 3))),
    st.tuples(st.just("remove"), st.tuples(places)),
    st.tuples(st.just("edit"), st.tuples(places, st.booleans())),
    st.tuples(st.just("insert"), st.tuples(places)),
    st.tuples(st.just("replay"), st.tuples(places)),
)
READS = st.tuples(st.none() | st.integers(8, 40), st.booleans())
ROUNDS = st.tuples(st.lists(STEPS, max_size=4), READS)


@settings(max_examples=400)
@given(first=st.lists(st.sampled_from([0, 2, 3, 2]), min_size=6, max_size=20), rounds=st.lists(ROUNDS, min_size=2))
def test_whatever_others_do_what_is_stored_is_read(
    first: list[int], rounds: Sequence[tuple[list[tuple[str, tuple[Any, ...]]], tuple[int | None, bool]]]
) -> None:
    stored = Stored()
    for count in first:
        stored.append(count) if count else stored.append_foreign("ok")
    snapshot: Snapshot | None = None
    for steps, (last, keep_system) in rounds:
        for name, arguments in steps:
            getattr(stored, name)(*arguments)
        found = read(stored, snapshot, last, keep_system=keep_system)
        event("revalidated" if found.revalidated else "fetched")
        snapshot = found.snapshot(snapshot)
        stored.changes.clear()


def conversation(turns: int = 50) -> Stored:
    stored = Stored()
    for _ in range(turns):
        stored.append(2)
    return stored


def test_the_next_turn_asks_for_four_records() -> None:
    stored = conversation()
    snapshot = snapshot_of(stored)
    assert snapshot is not None
    stored.append(2)
    found, (batch,) = run(fetch(KEY, None, Options(), snapshot.after_append(2)), stored)
    assert batch.commands == (("LRANGE", KEY, 0, 3), ("LLEN", KEY), ("LINDEX", KEY, -1))
    assert (batch.atomic, found.revalidated, len(found.stored)) == (True, True, 102)


def test_what_others_append_is_reckoned_with_after_the_first_time() -> None:
    stored = conversation()
    snapshot = snapshot_of(stored)
    revalidated = []
    for _ in range(4):
        stored.append(7)
        found = read(stored, snapshot)
        revalidated.append(found.revalidated)
        snapshot = found.snapshot(snapshot)
    assert revalidated == [False, True, True, True]


@pytest.mark.parametrize("last", [None, 40, 60, 100])
def test_at_the_storage_cap_every_turn_is_revalidated(last: int | None) -> None:
    stored = conversation(30)
    snapshot = snapshot_of(stored, last)
    for _ in range(10):
        stored.append(2)
        stored.trim(60)
        assert snapshot is not None
        found = read(stored, snapshot.after_append(2), last)
        assert found.revalidated
        snapshot = found.snapshot(snapshot)


@pytest.mark.parametrize("last", [30, 99, 100, 101, 5000])
@pytest.mark.parametrize("keep_system", [True, False])
def test_windows_are_revalidated(last: int, keep_system: bool) -> None:
    stored = conversation()
    snapshot = snapshot_of(stored, last)
    for _ in range(10):
        stored.append(2)
        assert snapshot is not None
        found = read(stored, snapshot.after_append(2), last, keep_system=keep_system)
        assert found.revalidated
        snapshot = found.snapshot(snapshot)


def test_a_window_after_the_whole_does_not_forget_the_rest() -> None:
    stored = conversation()
    snapshot = snapshot_of(stored, 30, snapshot_of(stored))
    assert read(stored, snapshot).revalidated


def test_the_whole_after_a_window_is_fetched_at_once() -> None:
    stored = conversation()
    found, batches = run(fetch(KEY, None, Options(), snapshot_of(stored, 30)), stored)
    assert (len(batches), found.revalidated, len(found.stored)) == (1, False, 100)


def test_a_conversation_of_old_libraries_has_no_snapshot() -> None:
    stored = Stored([foreign(str(number)) for number in range(50)])
    assert snapshot_of(stored) is None


def test_records_of_old_libraries_after_ours_are_revalidated() -> None:
    stored = conversation()
    stored.append_foreign("ok")
    snapshot = snapshot_of(stored)
    stored.append_foreign("ok")
    assert read(stored, snapshot).revalidated


@pytest.mark.parametrize("place", [0, 1, 50, 99])
def test_an_edit_in_place_is_seen_when_it_counts_up(place: int) -> None:
    stored = conversation()
    snapshot = snapshot_of(stored)
    stored.edit(place, spaced=False)
    found = read(stored, snapshot)
    assert not found.revalidated
    stored.append(2)
    assert read(stored, found.snapshot(snapshot)).revalidated


def test_an_edit_and_then_an_append_are_seen() -> None:
    stored = conversation()
    snapshot = snapshot_of(stored)
    stored.append(1)
    stored.edit(50, spaced=True)
    stored.append(1)
    assert not read(stored, snapshot).revalidated


def test_a_replaced_system_message_is_seen_without_counting_up() -> None:
    stored = conversation()
    snapshot = snapshot_of(stored)
    stored.records[-1] = foreign("another")
    assert not read(stored, snapshot).revalidated


def test_an_edit_of_the_record_before_the_newest_is_seen_without_counting_up() -> None:
    stored = conversation()
    snapshot = snapshot_of(stored)
    stored.records[1] = foreign("another")
    assert not read(stored, snapshot).revalidated


def test_what_a_foreign_client_puts_into_the_middle_is_seen() -> None:
    stored = Stored([foreign("ok")] * 30)
    stored.append(2)
    snapshot = snapshot_of(stored, 20)
    stored.records.insert(10, foreign("another"))
    assert not read(stored, snapshot, 20).revalidated


def test_a_copy_of_the_newest_at_the_oldest_end_is_seen() -> None:
    stored = conversation()
    snapshot = snapshot_of(stored)
    stored.records.append(stored.records[0])
    assert not read(stored, snapshot).revalidated


def test_among_equal_records_the_far_one_proves_nothing() -> None:
    stored = Stored([foreign("ok")] * 2)
    for _ in range(20):
        stored.append(2)
    snapshot = snapshot_of(stored)
    stored.remove(20)
    assert not read(stored, snapshot).revalidated


def test_before_a_window_there_may_be_equal_records() -> None:
    stored = Stored([foreign("ok")] * 5)
    for _ in range(13):
        stored.append(2)
    snapshot = snapshot_of(stored, 26)
    stored.remove(10)
    assert not read(stored, snapshot, 26).revalidated


def test_a_late_copy_is_not_taken_for_the_anchor() -> None:
    stored = conversation()
    stored.append(1)
    snapshot = snapshot_of(stored)
    stored.remove(20)
    stored.push(stored.appends[-1])
    stored.append(3)
    assert not read(stored, snapshot).revalidated


def test_an_empty_conversation_needs_no_second_request() -> None:
    stored = conversation()
    snapshot = snapshot_of(stored)
    stored.records.clear()
    assert read(stored, snapshot).revalidated
    stored.append(1)
    assert read(stored, snapshot).revalidated


@pytest.mark.parametrize("refusal", [ReadOnlyToken, RequestTooLarge])
def test_a_transaction_that_is_refused_is_done_without(refusal: type[DatabaseError]) -> None:
    stored = conversation()
    op = fetch(KEY, None, Options(), snapshot_of(stored))
    assert next(op).atomic
    batch = op.throw(refusal("no"))
    assert batch.commands == (("LRANGE", KEY, 0, -1),)
    with pytest.raises(StopIteration) as stop:
        op.send(Replies((stored.records,), Cost(1, 1, 0, 0)))
    found = stop.value.value
    assert (found.revalidated, len(found.stored)) == (False, 100)
