"""The doctor against a real Valkey: every damage is repaired and nothing lost, whatever happens meanwhile."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from chatstash import DatabaseError, Store, UpstashRedisChatMessageHistory
from chatstash.history.doctor.diagnosis import Finding, Repair
from chatstash.history.doctor.doctor import Doctor
from chatstash.history.doctor.repair import RepairStep
from chatstash.history.operations import scan
from chatstash.langchain.messages import why_unreadable
from chatstash.local import LocalUpstash
from tests.conftest import Call
from tests.contract.damaged import (
    DAMAGED,
    HOUR_AGO,
    KEY,
    MOVED,
    QUARANTINE,
    REPAIRS,
    a_doctor,
    assert_sound,
    fix,
    push,
    quarantined,
    request,
    result_block,
    stored,
)
from tests.history.doctor.test_diagnosis import ai, human, raw, rid, tool


class Interrupted(Doctor):
    """A doctor interrupted at its n-th request: before it is sent, or after it is answered."""

    def __init__(self, *args: Any, at: int, answered: bool) -> None:
        super().__init__(*args)
        self._left, self._answered = at, answered

    def _run(self, *args: Any) -> Any:
        self._left -= 1
        if self._left == 0 and not self._answered:
            raise KeyboardInterrupt
        result = super()._run(*args)
        if self._left == 0:
            raise KeyboardInterrupt
        return result


def test_every_damage_is_repaired_and_nothing_deleted(upstash: LocalUpstash, run: Call) -> None:
    push(upstash, DAMAGED)
    run("EXPIRE", KEY, 500)
    before_all = upstash.stats
    assert len(fix(upstash)) == REPAIRS
    assert (upstash.stats - before_all).requests == 1 + REPAIRS
    assert_sound(upstash, DAMAGED)
    assert 0 < run("TTL", KEY) <= 500
    assert run("TTL", QUARANTINE) == -1
    before = stored(upstash), quarantined(upstash)
    assert fix(upstash) == []
    assert (stored(upstash), quarantined(upstash)) == before


def test_the_quarantine_tells_where_from_when_and_why(upstash: LocalUpstash) -> None:
    push(upstash, DAMAGED)
    started = time.time() * 1000
    fix(upstash)
    found = quarantined(upstash)
    assert [note["position"] for note, _ in found] == MOVED[::-1]
    for note, record in found:
        assert list(note) == ["key", "position", "damage", "reason", "rid", "time_ms", "sha1", "move"]
        assert note["key"] == KEY
        assert record == DAMAGED[note["position"]]
        assert note["sha1"] == hashlib.sha1(record).hexdigest()
        assert started - 1 <= note["time_ms"] <= time.time() * 1000
        assert note["reason"]
    assert {note["damage"] for note, _ in found} == {
        "undecodable", "unknown-type", "unreadable", "duplicate", "result-without-call",
    }  # fmt: skip


def test_a_record_can_be_put_back_byte_for_byte(upstash: LocalUpstash, run: Call) -> None:
    """As docs/doctor.md says."""
    push(upstash, [human(), b"\xff\xfe"])
    fix(upstash)
    note = run("LPOP", QUARANTINE)
    assert json.loads(note)["position"] == 1
    run("LMOVE", QUARANTINE, KEY, "LEFT", "LEFT")
    assert stored(upstash) == [human(), b"\xff\xfe"]
    assert run("EXISTS", QUARANTINE) == 0


def test_a_repaired_conversation_can_be_read(upstash: LocalUpstash) -> None:
    push(upstash, [record for record in DAMAGED if b'"v"' not in record])
    fix(upstash)
    messages = UpstashRedisChatMessageHistory("s", upstash.url, upstash.token).messages
    assert [message.status for message in messages if message.type == "tool"] == [
        "success", "error", "error", "success", "success", "error",
    ]  # fmt: skip


def test_only_damage(upstash: LocalUpstash, run: Call) -> None:
    push(upstash, [b"a", b"a", b"b"])
    assert len(fix(upstash)) == 3
    assert run("EXISTS", KEY) == 0
    assert [record for _, record in quarantined(upstash)] == [b"b", b"a", b"a"]


@pytest.mark.parametrize("answered", [False, True])
def test_interrupted_at_every_request(upstash: LocalUpstash, answered: bool) -> None:
    for at in range(1, REPAIRS + 2):
        upstash.flush()
        push(upstash, DAMAGED)
        with pytest.raises(KeyboardInterrupt):
            fix(upstash, partial(Interrupted, at=at, answered=answered))
        fix(upstash)
        assert_sound(upstash, DAMAGED)


def test_every_reply_is_lost_once(upstash: LocalUpstash) -> None:
    class Unlucky(Doctor):
        def _apply(self, *args: Any) -> bool:
            upstash.faults.next("reply_lost")
            return super()._apply(*args)

    push(upstash, DAMAGED)
    assert len(fix(upstash, Unlucky)) == REPAIRS
    assert_sound(upstash, DAMAGED)


def test_a_repair_that_arrives_late_is_not_applied_twice(upstash: LocalUpstash) -> None:
    push(upstash, DAMAGED)
    upstash.faults.add("applied_late", held=True, times=3, matching="EVAL")
    assert len(fix(upstash)) == REPAIRS
    assert upstash.release() == 3
    assert_sound(upstash, DAMAGED)


def test_two_doctors_at_once(upstash: LocalUpstash) -> None:
    push(upstash, DAMAGED)
    done: list[Finding] = []
    with a_doctor(upstash) as one, a_doctor(upstash) as other:
        examined = [(doctor, doctor.examine(KEY)) for doctor in (one, other)]
        threads = [threading.Thread(target=doctor.repair, args=(found, done.append)) for doctor, found in examined]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(done) == REPAIRS
    assert_sound(upstash, DAMAGED)


def test_appends_meanwhile(upstash: LocalUpstash) -> None:
    push(upstash, DAMAGED)
    appended = [human(f"new {number}", rid(100 + number)) for number in range(200)]
    thread = threading.Thread(target=push, args=(upstash, appended))
    thread.start()
    fix(upstash)
    thread.join()
    fix(upstash)
    assert_sound(upstash, [*DAMAGED, *appended])
    assert stored(upstash)[-200:] == appended


def test_a_record_that_changed_since_is_left_alone(upstash: LocalUpstash, run: Call) -> None:
    push(upstash, [human("1"), b"bad", ai("a", rid=rid(1, time_ms=HOUR_AGO))])
    with a_doctor(upstash) as doctor:
        examination = doctor.examine(KEY)
        # The result arrives after all, and another program replaces the bad record.
        push(upstash, [tool("a")])
        run("LSET", KEY, -2, human("mended").decode())
        assert doctor.repair(examination, pytest.fail) == []
    assert stored(upstash) == [human("1"), human("mended"), ai("a", rid=rid(1, time_ms=HOUR_AGO)), tool("a")]
    assert run("EXISTS", QUARANTINE) == 0


def test_a_duplicate_is_not_moved_once_the_older_record_is_gone(upstash: LocalUpstash, run: Call) -> None:
    push(upstash, [human("x", rid(1)), human("y"), human("x", rid(1))])
    with a_doctor(upstash) as doctor:
        examination = doctor.examine(KEY)
        run("RPOP", KEY)
        push(upstash, [human("x", rid(2))])
        assert doctor.repair(examination, pytest.fail) == []
    assert run("LLEN", KEY) == 3


def with_scripts(change: Callable[[str], str]) -> type[Doctor]:
    """Return a doctor whose repairs run a changed script."""

    class Changed(Doctor):
        def _apply(self, key: str, step: RepairStep, on_repaired: Any) -> bool:
            name, script, *rest = step.command
            return super()._apply(key, replace(step, command=(name, change(str(script)), *rest)), on_repaired)

    return Changed


def test_an_insertion_that_is_refused_leaves_the_record_as_it_was(upstash: LocalUpstash) -> None:
    # A full database, for example, refuses the command while the script runs.
    refused = with_scripts(lambda script: script.replace("LINSERT", "NOSUCHCOMMAND"))
    conversation = [human(), ai("a"), human()]
    push(upstash, conversation)
    with pytest.raises(DatabaseError):
        fix(upstash, refused)
    assert stored(upstash) == conversation


def test_a_conversation_larger_than_a_request(upstash: LocalUpstash) -> None:
    large = [human(f"{number}" + "x" * 30_000) for number in range(9)]
    push(upstash, [*large[:4], b"bad" * 10_000, *large[4:], b"bad"])
    assert len(fix(upstash, max_request_bytes=100_000)) == 2
    assert stored(upstash) == large


def test_a_repair_is_one_request_of_few_commands_and_locks_only_its_keys(upstash: LocalUpstash) -> None:
    scripts: list[str] = []
    push(upstash, [human(), b"bad", ai("a"), human()])
    with a_doctor(upstash, with_scripts(lambda script: scripts.append(script) or script)) as doctor:
        examination = doctor.examine(KEY)
        before = upstash.stats
        doctor.repair(examination, lambda _: None)
    spent = upstash.stats - before
    assert spent.requests == 2
    assert spent.billed_commands <= 22
    assert [script.split("\n")[0] for script in scripts] == ["#!lua flags=allow-key-locking"] * 2


def test_a_key_that_is_listed_twice_is_examined_once(upstash: LocalUpstash, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = iter([("5", [b"a", b"b", b"a"]), ("0", [b"b", b"c"])])

    def page(prefix: str, cursor: str) -> Any:
        yield from ()
        return next(pages)

    monkeypatch.setattr(scan, "scan", page)
    with a_doctor(upstash) as doctor:
        assert list(doctor.list_keys()) == [b"a", b"b", b"c"]


def test_more_keys_than_one_page(upstash: LocalUpstash) -> None:
    names = {f"message_store:{number}" for number in range(1500)}
    request(upstash, ["EVAL", "for _, key in ipairs(KEYS) do redis.call('LPUSH', key, 'x') end", len(names), *names])
    with a_doctor(upstash) as doctor:
        assert {key.decode() for key in doctor.list_keys()} == names
        assert set(doctor.keys_without_expiry(sorted(names))) == names


def test_arguments_that_are_invalid(upstash: LocalUpstash) -> None:
    for abandoned_after in (-1, float("nan")):
        with pytest.raises(ValueError, match="abandoned_after"):
            Doctor(Store(upstash.url, upstash.token), why_unreadable, abandoned_after=abandoned_after)
    with a_doctor(upstash) as doctor, pytest.raises(ValueError, match="chatstash:"):
        doctor.examine("chatstash:x")


def test_an_expiry_is_set_only_on_a_list(upstash: LocalUpstash, run: Call) -> None:
    run("SET", KEY, "another program's")
    with a_doctor(upstash) as doctor:
        assert doctor.set_expiry(KEY, 60) is False
    assert run("TTL", KEY) == -1


def test_results_in_a_human_message(upstash: LocalUpstash, run: Call) -> None:
    text = {"type": "text", "text": "and tell me"}
    use = ai(content=[{"type": "tool_use", "id": "a", "name": "f", "input": {}}])
    valid = [human(), use, raw("human", {"content": [result_block("a"), text]}, rid(5, time_ms=HOUR_AGO)), human()]
    push(upstash, valid)
    assert fix(upstash) == []
    run("DEL", KEY)
    orphan = raw("human", {"content": [result_block("x")]})
    mixed = raw("human", {"content": [result_block("a"), result_block("x"), text]}, rid(6, time_ms=HOUR_AGO))
    push(upstash, [human(), orphan, use, mixed, human()])
    run("EXPIRE", KEY, 500)
    assert [finding.repair for finding in fix(upstash)] == [Repair.REMOVE_BLOCKS, Repair.QUARANTINE]
    after = stored(upstash)
    assert [json.loads(record)["data"]["content"] for record in after] == [
        "hi", [{"type": "tool_use", "id": "a", "name": "f", "input": {}}], [result_block("a"), text], "hi",
    ]  # fmt: skip
    assert json.loads(after[2])["rid"] == str(rid(6, time_ms=HOUR_AGO))
    assert [record for _, record in quarantined(upstash)] == [mixed, orphan]
    assert run("TTL", KEY) > 0
    assert fix(upstash) == []
