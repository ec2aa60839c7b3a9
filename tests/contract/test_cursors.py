"""Reading further back from a cursor, through the real server: whatever others did since, right or a clear error."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage

from chatstash import ConversationChanged, Cursor, UpstashRedisChatMessageHistory
from chatstash.history.doctor.doctor import Doctor
from chatstash.history.store import Store
from chatstash.langchain.messages import why_unreadable
from chatstash.local import Limits, LocalUpstash
from tests.conftest import Call, command

Run = Callable[..., Any]


def _history(upstash: LocalUpstash, session_id: str = "s", **options: Any) -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory(session_id, upstash.url, upstash.token, **options)


def _foreign(text: str) -> str:
    return json.dumps({"type": "human", "data": {"content": text}})


def _numbered(first: int, last: int) -> list[HumanMessage]:
    return [HumanMessage(str(number)) for number in range(first, last)]


def _texts(result: Any) -> list[str]:
    return [message.content for message in result.messages]


@pytest.mark.parametrize("as_text", [False, True])
def test_what_others_append_costs_no_request_and_moves_nothing(
    upstash: LocalUpstash, either: Call, run: Run, as_text: bool
) -> None:
    history = _history(upstash)
    texts = ["a", "ok", "b", "ok", "c", "ok", "d", "ok", "e", "ok"]
    run("LPUSH", history.key, *map(_foreign, texts))
    result = either(history, "read", last=1)
    shown = _texts(result)
    while result.cursor is not None:
        run("LPUSH", history.key, *map(_foreign, ["ok", "f", "ok"]))
        history.add_user_message("ok")
        cursor = str(result.cursor) if as_text else result.cursor
        result = either(history, "read", before=cursor, limit=2)
        assert (result.cost.requests, result.cost.commands) == (1, 3)
        shown = [*_texts(result), *shown]
    assert shown == texts


@pytest.mark.parametrize("trimmed", [1, 2, 3])
def test_after_a_trim_records_without_ids_give_an_error_and_no_guess(
    upstash: LocalUpstash, either: Call, run: Run, trimmed: int
) -> None:
    history = _history(upstash)
    run("LPUSH", history.key, *map(_foreign, [*["ok"] * 12, "b", "c", "d", "e", "f"]))
    for last in (14, 10, 4):
        cursor = history.read(last=last).cursor
        run("LTRIM", history.key, 0, run("LLEN", history.key) - trimmed - 1)
        with pytest.raises(ConversationChanged, match=r"no id.* newest"):
            either(history, "read", before=cursor, limit=50)


def test_an_edit_of_the_cursors_record_loses_nothing(upstash: LocalUpstash, call: Call, run: Run) -> None:
    history = _history(upstash)
    history.add_messages(_numbered(0, 20))
    cursor = history.read(last=5).cursor
    raw = run("LINDEX", history.key, 4)
    run("LSET", history.key, 4, raw.replace('"15"', '"fifteen"'))
    run("LTRIM", history.key, 0, 17)
    assert _texts(call(history, "read", before=cursor, limit=3)) == ["12", "13", "14"]


def test_where_the_cursors_record_is_removed_reading_goes_on_before_it(
    upstash: LocalUpstash, call: Call, run: Run
) -> None:
    history = _history(upstash)
    history.add_messages(_numbered(0, 20))
    result = history.read(last=5)
    run("LREM", history.key, 1, result.records[0].raw.decode())
    for cursor in (result.cursor, str(result.cursor)):
        further = call(history, "read", before=cursor, limit=3)
        assert (_texts(further), further.omitted) == (["12", "13", "14"], 12)
    assert _texts(call(history, "read", before=further.cursor, limit=50)) == list(map(str, range(12)))


def test_where_a_record_without_an_id_is_removed_there_is_an_error(upstash: LocalUpstash, call: Call, run: Run) -> None:
    history = _history(upstash)
    run("LPUSH", history.key, *(_foreign(str(number)) for number in range(20)))
    result = history.read(last=5)
    run("LREM", history.key, 1, result.records[0].raw.decode())
    with pytest.raises(ConversationChanged, match=r"no id.* newest"):
        call(history, "read", before=result.cursor, limit=3)
    history.clear()
    assert call(history, "read", before=result.cursor, limit=3).messages == []


def test_a_repair_of_the_cursors_record_loses_nothing(upstash: LocalUpstash, call: Call, run: Run) -> None:
    history = _history(upstash, on_corrupt="placeholder")
    history.add_messages(_numbered(0, 10))
    run("LPUSH", history.key, "not JSON")
    history.add_messages(_numbered(10, 13))
    cursor = history.read(last=4).cursor
    with Store(upstash.url, upstash.token) as store, contextlib.closing(Doctor(store, why_unreadable)) as doctor:
        assert doctor.repair(doctor.examine(history.key), lambda finding: None) == []
    assert _texts(call(history, "read", before=cursor, limit=3)) == ["7", "8", "9"]


def test_a_duplicate_of_the_cursors_record_is_not_taken_for_it(upstash: LocalUpstash, call: Call, run: Run) -> None:
    history = _history(upstash)
    history.add_messages(_numbered(0, 20))
    cursor = history.read(last=5).cursor
    run("LPUSH", history.key, run("LINDEX", history.key, 4))
    run("LTRIM", history.key, 0, 17)
    assert _texts(call(history, "read", before=cursor, limit=3)) == ["12", "13", "14"]


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("size", [10_000, 45_000, 90_000])
def test_a_page_over_the_servers_limit_is_shorter(either: Call, size: int, ours: bool) -> None:
    with LocalUpstash(plan=Limits(max_request_bytes=100_000)) as upstash:
        history = _history(upstash, max_request_bytes=100_000)
        for number in range(12):
            text = str(number).ljust(size, "x")
            history.add_user_message(text) if ours else command(upstash, "LPUSH", history.key, _foreign(text))
        result = history.read(last=1)
        texts = _texts(result)
        while result.cursor is not None:
            before = upstash.stats
            result = either(history, "read", before=result.cursor, limit=11)
            assert result.messages
            spent = upstash.stats - before
            assert (result.cost.requests, result.cost.commands) == (spent.requests, spent.billed_commands)
            texts = [*_texts(result), *texts]
        assert [text.rstrip("x") for text in texts] == list(map(str, range(12)))


_APPENDS = st.one_of(
    st.tuples(st.just("ours"), st.integers(1, 3)),
    st.tuples(st.just("foreign"), st.sampled_from(["ok", "yes", "no"])),
    st.tuples(st.just("foreign"), st.sampled_from(["ok", "yes", "no"])),
)
_STEPS = _APPENDS | st.one_of(
    st.tuples(st.just("trim"), st.integers(1, 4)),
    st.tuples(st.just("remove"), st.integers(0, 40)),
    st.tuples(st.just("edit"), st.integers(0, 40)),
)


class _Mirror:
    """A conversation, and a number for each of its records that tells equal ones apart; oldest first."""

    def __init__(self, upstash: LocalUpstash) -> None:
        upstash.flush()
        self.upstash = upstash
        self.history = _history(upstash)
        self.records: list[tuple[int, str]] = []
        self.numbers = iter(range(10_000))

    def run(self, *words: str | int) -> Any:
        return command(self.upstash, *words)

    def looks_the_same(self, before: list[tuple[int, str]], at: int, covered: int) -> bool:
        """Tell whether other records stand where a cursor's were, with the same bytes, and there are no fewer."""
        old, new = before[at - 1 : at + covered], self.records[at - 1 : at + covered]
        equal = [raw for _, raw in old] == [raw for _, raw in new] and len(self.records) >= len(before)
        return equal and old != new

    def ours(self, count: int) -> None:
        self.history.add_messages([HumanMessage(f"ours {number}") for number in range(count)])
        for raw in self.run("LRANGE", self.history.key, 0, count - 1)[::-1]:
            self.records.append((next(self.numbers), raw))

    def foreign(self, text: str) -> None:
        self.run("LPUSH", self.history.key, _foreign(text))
        self.records.append((next(self.numbers), _foreign(text)))

    def trim(self, count: int) -> None:
        del self.records[:count]
        self.run("LTRIM", self.history.key, 0, len(self.records) - 1) if self.records else self.history.clear()

    def remove(self, at: int) -> None:
        if self.records:
            at %= len(self.records)
            self.run("LSET", self.history.key, -1 - at, "gone")
            self.run("LREM", self.history.key, 1, "gone")
            del self.records[at]

    def edit(self, at: int) -> None:
        if self.records:
            at %= len(self.records)
            number, raw = self.records[at]
            self.records[at] = (number, raw.replace('"content"', f'"new{next(self.numbers)}":"x","content"', 1))
            self.run("LSET", self.history.key, -1 - at, self.records[at][1])


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=st.lists(_APPENDS, min_size=4, max_size=20),
    then=st.lists(_STEPS, max_size=5),
    last=st.integers(1, 6),
    limit=st.integers(1, 8),
)
def test_whatever_others_did_the_page_is_right_or_there_is_an_error(
    upstash: LocalUpstash, first: list[Any], then: list[Any], last: int, limit: int
) -> None:
    mirror = _Mirror(upstash)
    for name, argument in first:
        getattr(mirror, name)(argument)
    result = mirror.history.read(last=last)
    if result.cursor is None:
        return
    before = list(mirror.records)
    number, _ = before[result.cursor.position]
    for name, argument in then:
        getattr(mirror, name)(argument)
    expected = [raw for each, raw in mirror.records if each < number]
    try:
        page = mirror.history.read(before=Cursor.parse(str(result.cursor)), limit=limit)
    except ConversationChanged:
        event("an error")
        assert {"trim", "remove", "edit"} & {name for name, _ in then}
        return
    at = result.cursor.position
    if result.cursor.covered and mirror.looks_the_same(before, at, result.cursor.covered):
        event("equal records moved to where equal records were")
        return
    event("right")
    assert [record.raw.decode() for record in page.records] == expected[-limit:]
    assert page.omitted == max(0, len(expected) - limit)
