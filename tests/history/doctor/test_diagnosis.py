"""The doctor's findings and repairs on a plain list, without a database."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import messages_from_dict

from chatstash.history.doctor.diagnosis import Damage, Finding, Repair, diagnose
from chatstash.history.doctor.repair import RepairStep, plan_repairs
from chatstash.history.records.decoding import decode
from chatstash.history.records.message_types import KNOWN_TYPES
from chatstash.history.records.record import RecordId, new_record_ids
from chatstash.history.tool_calls.formats import NO_RESULT
from chatstash.langchain.messages import _CLASSES, why_unreadable

NOW = 1_800_000_000_000
HOUR = 3_600_000
OLD = NOW - 2 * HOUR
randomness = random.Random(1).randbytes


def rid(number: int, *, time_ms: int = OLD) -> RecordId:
    return new_record_ids(1, time_ms=time_ms, randomness=number.to_bytes(6))[0]


def raw(kind: str, data: dict[str, Any], rid: RecordId | None = None, **other: Any) -> bytes:
    return json.dumps({"type": kind, "data": data} | ({"rid": str(rid)} if rid else {}) | other).encode()


def human(text: str = "hi", rid: RecordId | None = None) -> bytes:
    return raw("human", {"content": text}, rid)


def ai(*ids: Any, rid: RecordId | None = None, **data: Any) -> bytes:
    calls = [{"name": f"tool-{call_id}", "args": {}, "id": call_id} for call_id in ids]
    return raw("ai", {"content": "", "tool_calls": calls, **data}, rid)


def tool(call_id: Any, text: str = "result", rid: RecordId | None = None) -> bytes:
    return raw("tool", {"content": text, "tool_call_id": call_id}, rid)


def find(*stored: bytes, abandoned_after: float = 3600) -> list[Finding]:
    return diagnose(stored, why_unreadable, now_ms=NOW, abandoned_after=abandoned_after)


def damages(*stored: bytes) -> list[tuple[Damage, int | None]]:
    return [(finding.damage, finding.position) for finding in find(*stored)]


def apply(stored: Sequence[bytes], done: Sequence[RepairStep]) -> tuple[list[bytes], list[bytes]]:
    """Apply repairs to a list as the scripts do in the database; return the list and the quarantine."""
    records, quarantine = list(stored), []
    for step in done:
        _, _, count, *words = step.command
        index, _, what = words[int(count) : int(count) + 3]
        position = -1 - int(index)
        if step.finding.repair is Repair.REMOVE_BLOCKS:
            quarantine.append(records[position])
            records[position] = str(words[int(count) + 1]).encode()
        elif int(count) == 2:
            quarantine.append(records.pop(position))
        else:
            records.insert(position + 1, str(what).encode())
    return records, quarantine


def repaired(*stored: bytes) -> tuple[list[bytes], list[bytes]]:
    plan = plan_repairs("k", stored, find(*stored), now_ms=NOW, randomness=randomness)
    return apply(stored, plan)


def stand_in(call_id: str) -> Any:
    class StandIn:
        def __eq__(self, other: object) -> bool:
            return isinstance(other, bytes) and decode(other).data == {
                "content": NO_RESULT, "tool_call_id": call_id, "status": "error", "name": f"tool-{call_id}",
            }  # fmt: skip

        __hash__ = None  # type: ignore[assignment]

    return StandIn()


def test_a_sound_conversation_is_left_alone() -> None:
    sound = [human(), human(), ai("a", "b"), tool("b"), tool("a"), ai(), human(), ai("a"), tool("a"), human()]
    assert find(*sound) == []


@pytest.mark.parametrize(
    "bad",
    [b"", b"not json", b"\xff\xfe", b"[]", b'"text"', b"null", b"{}", b'{"type":"human"}', b'{"data":{}}',
     b'{"type":1,"data":{}}', b'{"type":"human","data":[]}', b'{"type":"human","data":{"content":"x"}', b"[" * 100_000],
)  # fmt: skip
def test_an_undecodable_record_is_moved(bad: bytes) -> None:
    assert damages(human(), bad, human()) == [(Damage.UNDECODABLE, 1)]
    assert repaired(human("1"), bad, human("2")) == ([human("1"), human("2")], [bad])


def test_a_record_that_no_library_can_read_is_moved() -> None:
    alien, no_content = raw("alien", {"content": "x"}, rid(1)), raw("human", {"content": None}, rid(2))
    assert damages(alien, human(), no_content) == [(Damage.UNKNOWN_TYPE, 0), (Damage.UNREADABLE, 2)]
    assert find(alien)[0].record_id == rid(1)
    assert repaired(alien, human(), no_content) == ([human()], [no_content, alien])


def test_every_langchain_message_type_is_known() -> None:
    assert frozenset(_CLASSES) | {"generic"} == KNOWN_TYPES
    fields = {"content": "", "tool_call_id": "", "role": "", "name": "", "id": ""}
    for kind in KNOWN_TYPES - {"generic"}:
        messages_from_dict([{"type": kind, "data": dict(fields)}])
    assert find(raw("generic", {"content": "", "role": "r"})) == []


def test_reasons_never_quote_a_message() -> None:
    secret = "hunter2"
    bad = [
        secret.encode(),
        raw("human", {"content": {secret: secret}}),
        raw("ai", {"content": "", "tool_calls": [{"name": secret, "args": secret, "id": secret}]}),
        raw("ai", {"content": "", "tool_calls": secret}),
        raw("ai", {"content": "", "usage_metadata": {secret: secret}}),
        raw("tool", {"content": secret}),
        tool(secret),
        ai(secret, rid=rid(1)),
        human(),
    ]
    findings = find(*bad)
    assert len(findings) == 8
    assert not [finding.reason for finding in findings if secret in finding.reason]
    assert "content: string_type" in find(raw("human", {"content": 5}))[0].reason


def test_the_oldest_of_several_duplicates_stays() -> None:
    same, other = human("same", rid(1)), human("other", rid(2))
    assert damages(same, other, same, human(), same) == [(Damage.DUPLICATE, 2), (Damage.DUPLICATE, 4)]
    assert repaired(same, other, same, human(), same) == ([same, other, human()], [same, same])


def test_records_without_an_id_are_never_duplicates() -> None:
    theirs = json.dumps({"type": "human", "data": {"content": ""}, "rid": "theirs"}).encode()
    assert find(human(), human(), theirs, theirs, human()) == []


def test_records_of_one_append_are_not_duplicates() -> None:
    first, second = new_record_ids(2, time_ms=OLD, randomness=b"123456")
    assert find(human("a", first), human("a", second)) == []


def test_a_readable_record_is_not_a_duplicate_of_an_unreadable_one() -> None:
    unreadable, readable = raw("alien", {}, rid(1)), human("x", rid(1))
    assert repaired(unreadable, readable) == ([readable], [unreadable])


def test_a_newer_format_is_reported_and_left_alone() -> None:
    newer = [raw(kind, {}, rid(1), v=2) for kind in ("human", "alien", "tool", "human")]
    assert damages(*newer) == [(Damage.NEWER_FORMAT, position) for position in range(4)]
    assert repaired(*newer) == (newer, [])
    assert {finding.repair for finding in find(*newer)} == {Repair.NONE}


@pytest.mark.parametrize("fields", [{"v": 2}, {"v": 2, "type": []}, {"v": {}, "type": 1, "data": None}])
def test_a_newer_format_may_have_other_fields(fields: Any) -> None:
    assert damages(json.dumps(fields).encode()) == [(Damage.NEWER_FORMAT, 0)]


def test_a_result_without_its_call_is_moved() -> None:
    for stored, position in (
        ([tool("a")], 0),
        ([human(), tool("a"), human()], 1),
        ([ai("b"), tool("b"), tool("a")], 2),
        ([ai("a"), tool("a"), human(), tool("a")], 3),
        ([ai("a"), tool("a"), tool("a")], 2),
        ([human(), tool("a"), ai("a"), tool("a")], 1),
    ):
        assert damages(*stored) == [(Damage.RESULT_WITHOUT_CALL, position)]
        assert repaired(*stored) == (stored[:position] + stored[position + 1 :], [stored[position]])


def test_a_result_is_moved_with_its_unreadable_call() -> None:
    bad_call = raw("ai", {"content": {}, "tool_calls": [{"name": "f", "args": {}, "id": "a"}]})
    assert repaired(human(), bad_call, tool("a"), human()) == ([human(), human()], [tool("a"), bad_call])


def test_a_missing_result_is_inserted_after_the_others() -> None:
    assert damages(ai("a", "b", "c"), tool("b"), human()) == [(Damage.CALL_WITHOUT_RESULT, 0)] * 2
    after, quarantine = repaired(ai("a", "b", "c"), tool("b"), human())
    assert after == [ai("a", "b", "c"), tool("b"), stand_in("a"), stand_in("c"), human()]
    assert quarantine == []
    (message,) = messages_from_dict([json.loads(after[2])])
    assert (message.status, message.content, message.name) == ("error", NO_RESULT, "tool-a")


def test_ids_used_again_in_a_later_turn() -> None:
    after, _ = repaired(ai("1"), human(), ai("1"), tool("1"), human())
    assert after == [ai("1"), stand_in("1"), human(), ai("1"), tool("1"), human()]
    assert find(ai("1"), tool("1"), ai("1"), tool("1")) == []


def test_a_result_before_its_call() -> None:
    after, quarantine = repaired(human(), tool("1"), ai("1"), human())
    assert (after, quarantine) == ([human(), ai("1"), stand_in("1"), human()], [tool("1")])


def test_calls_and_results_of_two_concurrent_turns_stay_where_they_are() -> None:
    assert find(ai("a"), ai("b"), tool("a"), tool("b"), human()) == []
    assert find(ai("a"), human(), tool("a"), human()) == []


def test_a_placeholder_is_inserted_after_its_call_and_not_after_a_misplaced_result() -> None:
    after, quarantine = repaired(ai("a"), ai("b"), tool("a"), human())
    assert (after, quarantine) == ([ai("a"), ai("b"), stand_in("b"), tool("a"), human()], [])


def test_ids_that_are_numbers() -> None:
    assert find(ai("7"), tool(7), human()) == []


def old_form(arguments: str) -> dict[str, Any]:
    call = {"id": "a", "type": "function", "function": {"name": "tool-a", "arguments": arguments}}
    return {"tool_calls": [], "additional_kwargs": {"tool_calls": [call]}}


INVALID = {"tool_calls": [], "invalid_tool_calls": [{"id": "a", "name": "tool-a", "args": "{", "error": None}]}


@pytest.mark.parametrize("data", [old_form("{}"), old_form("{"), INVALID])
def test_calls_in_other_forms(data: dict[str, Any]) -> None:
    (message,) = messages_from_dict([json.loads(ai(**data))])
    assert [call["id"] for call in [*message.tool_calls, *message.invalid_tool_calls]] == ["a"]
    assert find(ai(**data), tool("a"), human()) == []
    assert repaired(ai(**data), human()) == ([ai(**data), stand_in("a"), human()], [])


def test_a_block_that_only_resembles_a_call_needs_no_result() -> None:
    for like in (
        ai(content=[{"type": "tool_call_chunk", "id": "a", "name": "f", "args": "{"}]),
        ai(additional_kwargs={"tool_calls": [{"id": "a", "no": "function"}]}),
    ):
        assert find(like, tool("a"), human()) == []
        assert find(like, human()) == []
    assert find(ai(None), human()) == []


def test_a_turn_in_progress_is_left_alone() -> None:
    def open_turn(age_ms: int, *after: bytes) -> list[Finding]:
        return find(human(), ai("a", "b", rid=rid(1, time_ms=NOW - age_ms)), *after)

    assert open_turn(HOUR - 1) == []
    assert open_turn(-HOUR) == []
    assert len(open_turn(HOUR + 1)) == 2
    assert len(open_turn(2 * HOUR, tool("a", rid=rid(2, time_ms=NOW - HOUR - 1)))) == 1
    assert open_turn(2 * HOUR, tool("a", rid=rid(2, time_ms=NOW - HOUR + 1))) == []
    assert open_turn(2 * HOUR, tool("a")) == []
    assert find(ai("a")) == []
    assert len(open_turn(0, human())) == 2
    assert len(find(ai("a", rid=rid(1, time_ms=NOW - 5001)), abandoned_after=5)) == 1
    assert find(ai("a", rid=rid(1, time_ms=NOW - 4999)), abandoned_after=5) == []


def test_a_late_result_replaces_its_placeholder() -> None:
    after, _ = repaired(human(), ai("a", rid=rid(1)))
    assert after[2:] == [stand_in("a")]
    late = [*after, tool("a")]
    assert repaired(*late) == ([human(), ai("a", rid=rid(1)), tool("a")], [after[2]])
    too_late = [*after, human(), tool("a")]
    assert repaired(*too_late) == ([*after, human()], [tool("a")])


def test_next_to_a_newer_format_nothing_is_certain() -> None:
    for unknown in (raw("ai", {}, v=2), raw("tool", {}, v=2), raw("call", {}, v=2)):
        assert damages(unknown, tool("a"), human()) == [(Damage.NEWER_FORMAT, 0)]
        assert damages(ai("a"), unknown, human()) == [(Damage.NEWER_FORMAT, 1)]
    assert damages(raw("system", {}, v=2), tool("a")) == [(Damage.NEWER_FORMAT, 0), (Damage.RESULT_WITHOUT_CALL, 1)]
    assert (Damage.CALL_WITHOUT_RESULT, 0) in damages(ai("a"), raw("system", {}, v=2), human())
    # A human record in a newer format may hold the result.
    assert damages(ai("a"), raw("human", {}, v=2), human()) == [(Damage.NEWER_FORMAT, 1)]


def test_an_inserted_result_keeps_times_in_order() -> None:
    stored = [ai("a", rid=rid(1, time_ms=OLD)), human("x", rid(2, time_ms=OLD + 5))]
    after, _ = repaired(*stored)
    times = [decode(record).time_ms for record in after]
    assert times == [OLD, OLD, OLD + 5]
    assert decode(after[1]).id not in {rid(1), rid(2)}


def test_every_repair_checks_the_records_it_depends_on() -> None:
    """The scripts get the index and SHA-1 of each of them: the original of a duplicate, and both neighbours."""
    stored = [human("x", rid(1)), ai("a"), human("x", rid(1)), human()]
    move, insert = plan_repairs("k", stored, find(*stored), now_ms=NOW, randomness=randomness)
    assert [word for word in move.command[8:] if isinstance(word, int)] == [-3, -1]
    assert [word for word in insert.command[7:] if isinstance(word, int)] == [-2, -3, -2]


RECORDS = st.one_of(
    st.sampled_from([b"bad", b"\xff", b"{}", raw("alien", {}), raw("human", {}), human(), raw("human", {}, v=2),
                     raw("ai", {}, v=2)]),
    st.builds(human, st.just("x"), st.none() | st.integers(0, 3).map(rid)),
    st.builds(lambda ids, rid: ai(*ids, rid=rid), st.lists(st.sampled_from("abc"), max_size=3),
              st.none() | st.integers(4, 7).map(rid)),
    st.builds(tool, st.sampled_from("abc"), st.just("r"), st.none() | st.integers(8, 11).map(rid)),
)  # fmt: skip


@given(st.lists(RECORDS, max_size=14))
def test_after_a_repair_nothing_is_found_and_nothing_is_lost(stored: list[bytes]) -> None:
    after, quarantine = repaired(*stored)
    assert [finding for finding in find(*after) if finding.repair is not Repair.NONE] == []
    inserted = Counter(after) + Counter(quarantine) - Counter(stored)
    assert Counter(stored) - Counter(after) - Counter(quarantine) == Counter()
    assert all(NO_RESULT.encode() in record for record in inserted)
    order = iter(stored)
    assert all(record in order for record in after if record not in inserted)


@given(st.lists(RECORDS, max_size=14), st.data())
def test_a_second_repair_completes_an_interrupted_one(stored: list[bytes], data: st.DataObject) -> None:
    plan = plan_repairs("k", stored, find(*stored), now_ms=NOW, randomness=randomness)
    half, quarantine = apply(stored, plan[: data.draw(st.integers(0, len(plan)))])
    after, rest = repaired(*half)
    assert [finding for finding in find(*after) if finding.repair is not Repair.NONE] == []
    assert Counter(stored) - Counter(after) - Counter(quarantine + rest) == Counter()
