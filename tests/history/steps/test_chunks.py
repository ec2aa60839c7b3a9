"""Reading in chunks, without I/O: whatever others do between two chunks, the records were stored at one moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from chatstash.errors import ConversationChanged, RequestTooLarge
from chatstash.history.records.encoding import encode
from chatstash.history.records.generation import without_generation
from chatstash.history.records.identity import has_id
from chatstash.history.records.record import Record, new_record_ids
from chatstash.history.steps import chunks
from chatstash.rest.commands import Batch, Command, Cost, Replies
from chatstash.rest.ops import Op


def ours(number: int, size: int = 60, **other: Any) -> bytes:
    (rid,) = new_record_ids(1, time_ms=number, randomness=number.to_bytes(6))
    return encode(Record("human", {"content": "x" * size}, rid, other)).encode()


def foreign(number: int, size: int = 60) -> bytes:
    return encode(Record("human", {"content": str(number).zfill(size)})).encode()


@dataclass
class Stored:
    """A list as a server holds it that answers no more than `limit` bytes, oldest first."""

    records: list[bytes]
    limit: int
    asked: int = 0
    number: int = 10_000
    moments: list[list[bytes]] = field(default_factory=list)

    def append_ours(self) -> None:
        self.number += 1
        self.records.append(ours(self.number))

    def append_foreign(self, text: int = 0) -> None:
        self.records.append(foreign(text))

    def edit(self, place: int) -> None:
        self.number += 1
        if self.records:
            place %= len(self.records)
            old = without_generation(self.records[place])
            self.records[place] = old.replace(b"x", b"y", 1) if has_id(old) else foreign(self.number)
        self.count_up()

    def move_and_insert(self, place: int) -> None:
        self.number += 1
        if self.records:
            place %= len(self.records)
            del self.records[place]
            self.records.insert(max(0, place - 1), ours(self.number, stand_in=True))
        self.count_up()

    def trim(self, count: int) -> None:
        del self.records[:count]

    def clear(self) -> None:
        self.records.clear()

    def count_up(self) -> None:
        for place in range(len(self.records) - 1, max(-1, len(self.records) - 201), -1):
            if has_id(self.records[place]):
                self.number += 1
                self.records[place] = without_generation(self.records[place])[:-1] + b',"g":%d}' % self.number
                return

    def answer(self, batch: Batch) -> Replies | RequestTooLarge:
        self.asked += 1
        values = tuple(map(self._answer, batch.commands))
        size = sum(sum(map(len, value)) if isinstance(value, list) else len(value or b"") for value in values
                   if not isinstance(value, int))  # fmt: skip
        if size > self.limit:
            return RequestTooLarge("x", server_text=f"ERR max request size exceeded. Limit: {self.limit} bytes")
        return Replies(values, Cost(1, 1, 0, size))

    def _answer(self, command: Command) -> Any:
        name, _, *rest = command
        stored = self.records[::-1]
        if name == "LLEN":
            return len(stored)
        places = [int(place) + (len(stored) if int(place) < 0 else 0) for place in rest]
        if name == "LINDEX":
            return stored[places[0]] if 0 <= places[0] < len(stored) else None
        return stored[max(places[0], 0) : max(places[1] + 1, 0)]


def drive(op: Op[Any], stored: Stored, between: Callable[[], object] = lambda: None) -> Any:
    batch = next(op)
    try:
        while True:
            answer = stored.answer(batch)
            stored.moments.append(list(stored.records))
            between()
            stored.moments.append(list(stored.records))
            batch = op.throw(answer) if isinstance(answer, Exception) else op.send(answer)
    except StopIteration as stop:
        return stop.value


def read_all(stored: Stored, between: Callable[[], object] = lambda: None) -> Any:
    return drive(chunks.stored_records("k", None, stored.limit), stored, between)


def numbered(first: int, count: int, size: int = 100) -> list[bytes]:
    return [str(number).zfill(size).encode() for number in range(first, first + count)]


@pytest.mark.parametrize("limit", [100, 199, 12_345])
def test_chunks_make_one_list(limit: int) -> None:
    records = numbered(0, 500)
    assert read_all(Stored(records, limit)) == records


def test_records_of_very_different_sizes() -> None:
    records = [*(str(number).zfill(10 if number % 50 else 900).encode() for number in range(1000)), ours(1)]
    stored = Stored(records, 1000)
    assert read_all(stored) == records
    assert stored.asked < 300


@pytest.mark.parametrize("append", [Stored.append_ours, Stored.append_foreign])
def test_others_may_append_during_the_read(append: Callable[[Stored], None]) -> None:
    stored = Stored([*numbered(0, 500), ours(1)], 2000)
    found = read_all(stored, lambda: append(stored))
    assert found in stored.moments
    assert len(found) > 501


def test_if_the_newest_records_have_ids_the_checks_cost_one_request() -> None:
    stored = Stored(list(map(ours, range(1000))), 20_000)
    asked = []
    op = chunks.stored_records("k", None, stored.limit)
    drive(_recorded(op, asked), stored)
    whole, look, *rest = asked
    assert [whole, look] == [[("LRANGE", "k", 0, -1)], [("LLEN", "k"), ("LRANGE", "k", 0, 0)]]
    assert {command[0] for batch in rest for command in batch} == {"LRANGE"}
    assert sum(map(len, rest)) < 16


def _recorded(op: Op[Any], asked: list[list[Command]]) -> Op[Any]:
    batch = next(op)
    while True:
        asked.append(list(batch.commands))
        try:
            replies = yield batch
        except RequestTooLarge as error:
            batch = op.throw(error)
        else:
            try:
                batch = op.send(replies)
            except StopIteration as stop:
                return stop.value


CHANGES: dict[str, Callable[[Stored], object]] = {
    "trim": lambda stored: stored.trim(1),
    "clear": lambda stored: stored.clear(),
    "edit of an early record": lambda stored: stored.edit(0),
    "repair of early records": lambda stored: stored.move_and_insert(3),
    "edit, then an append": lambda stored: (stored.edit(0), stored.append_ours()),
    "append, then an edit": lambda stored: (stored.append_ours(), stored.edit(0)),
    "append by others between": lambda stored: (stored.append_foreign(), stored.edit(0), stored.append_ours()),
}


@pytest.mark.parametrize("newest", ["ours", "foreign", "all foreign"])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("limit", [200, 2000])
def test_reading_starts_again_if_others_change_the_records(newest: str, change: str, limit: int) -> None:
    records = [(foreign if newest == "all foreign" else ours)(number) for number in range(100)]
    stored = Stored([*records, *([foreign(5)] if newest == "foreign" else [])], limit)

    def between() -> None:
        if stored.asked == 8:
            CHANGES[change](stored)

    assert read_all(stored, between) == stored.records


def test_a_conversation_that_keeps_changing_is_an_error() -> None:
    stored = Stored(list(map(ours, range(100))), 2000)
    with pytest.raises(ConversationChanged, match="kept trimming"):
        read_all(stored, lambda: stored.edit(0))


def test_a_record_over_the_limit_is_named() -> None:
    for after in (3, 0):
        stored = Stored([*numbered(0, 3), b"x" * 5000, *numbered(3, after)], 1000)
        with pytest.raises(RequestTooLarge, match="position 3 "):
            read_all(stored)


ACTIONS = st.one_of(
    st.just(("append_ours",)),
    st.just(("append_ours",)),
    st.tuples(st.just("append_foreign"), st.integers(0, 1)),
    st.tuples(st.just("edit"), st.integers(0, 60)),
    st.tuples(st.just("move_and_insert"), st.integers(0, 60)),
    st.tuples(st.just("trim"), st.integers(1, 3)),
    st.just(("clear",)),
)  # fmt: skip
BETWEEN = st.dictionaries(st.integers(1, 40), st.lists(ACTIONS, min_size=1, max_size=3), max_size=4)


@settings(max_examples=1500)
@given(
    are_ours=st.lists(st.booleans(), min_size=15, max_size=40),
    between=BETWEEN,
    limit=st.sampled_from([300, 450, 700, 1500]),
    newest=st.none() | st.integers(1, 30),
    all_ours=st.booleans(),
)
def test_chunks_show_one_state(
    are_ours: list[bool], between: dict[int, list[Any]], limit: int, newest: int | None, all_ours: bool
) -> None:
    records = [ours(at) if is_ours or all_ours else foreign(at) for at, is_ours in enumerate(are_ours)]
    stored = Stored(records, limit)

    def act() -> None:
        for name, *arguments in between.get(stored.asked, []):
            getattr(stored, name)(*arguments)

    op = chunks.chunked("k", RequestTooLarge("x"), limit, newest, with_oldest=True)
    try:
        found = drive(op, stored, act)
    except ConversationChanged:
        event("gave up")
        return
    event("begun again" if len(between) else "undisturbed")
    assert any(
        found.records == moment[len(moment) - len(found.records) :]
        and found.length == len(moment)
        and found.oldest == (moment[0] if moment else None)
        and len(found.records) >= min(newest or len(moment), len(moment))
        for moment in stored.moments
    )
