"""The doctor against a real Valkey: every damage repaired, nothing gone, whatever comes between."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import urllib3
from typer.testing import CliRunner, Result

from chatstash import DatabaseError, ReadOnlyToken, Store, UpstashRedisChatMessageHistory, WrongType
from chatstash.cli.app import app
from chatstash.history.doctor.diagnosis import Finding, Repair
from chatstash.history.doctor.doctor import Doctor, repair
from chatstash.history.operations import scan as listing
from chatstash.history.records.keys import companion_key
from chatstash.history.tool_calls.formats import NO_RESULT
from chatstash.langchain.messages import why_unreadable
from chatstash.local import LocalUpstash, limits_of
from tests.conftest import Call
from tests.history.doctor.test_diagnosis import ai, human, raw, rid, tool

KEY = "message_store:s"
QUARANTINE = f"chatstash:quarantine:{hashlib.sha256(KEY.encode()).hexdigest()}"
HOUR_AGO = int(time.time() * 1000) - 3_700_000

DAMAGED = [
    human("hello", rid(1, time_ms=HOUR_AGO)),
    b"not json",
    human("same"),
    human("same"),
    b"\xff\x00\xfe binary",
    human("hello", rid(1, time_ms=HOUR_AGO)),
    raw("alien", {"content": "?"}),
    raw("human", {"content": None}),
    tool("nobody asked"),
    ai("a", "b", "c"),
    tool("b"),
    b"not json",
    human("again"),
    raw("system", {"content": "new"}, v=9),
    tool("b"),
    b"",
    ai("a", rid=rid(2, time_ms=HOUR_AGO)),
    tool("a"),
    ai("a", "b", rid=rid(3, time_ms=HOUR_AGO)),
    tool("b", rid=rid(4, time_ms=HOUR_AGO)),
]
MOVED = [1, 4, 5, 6, 7, 8, 11, 14, 15]
REPAIRS = 12


def request(upstash: LocalUpstash, body: Any, path: str = "", **headers: str) -> Any:
    sent = {"body": body} if isinstance(body, bytes) else {"json": body}
    headers |= {"authorization": f"Bearer {upstash.token}"}
    reply = urllib3.request("POST", upstash.url + path, headers=headers, retries=False, **sent).json()  # type: ignore[arg-type]
    assert "error" not in reply, reply
    return reply["result"]


def push(upstash: LocalUpstash, records: Sequence[bytes], key: str = KEY) -> None:
    for record in records:
        # As the body of a path, bytes need not be UTF-8; an empty body would be no argument.
        request(upstash, record, f"/lpush/{key}") if record else request(upstash, ["LPUSH", key, ""])


def stored(upstash: LocalUpstash, key: str = KEY) -> list[bytes]:
    """Return a list as it is, oldest first, read past the code under test."""
    values = request(upstash, ["LRANGE", key, 0, -1], **{"upstash-encoding": "base64"})
    return [base64.b64decode(value) for value in reversed(values)]


def quarantined(upstash: LocalUpstash, key: str = QUARANTINE) -> list[tuple[dict[str, Any], bytes]]:
    words = stored(upstash, key)[::-1]
    return [(json.loads(note), record) for note, record in zip(words[::2], words[1::2], strict=True)]


def assert_sound(upstash: LocalUpstash, before: Sequence[bytes]) -> None:
    """Nothing is gone or doubled, what was inserted is where it belongs, and nothing more is found."""
    after, moved = stored(upstash), [record for _, record in quarantined(upstash)]
    assert Counter(record for record in after if NO_RESULT.encode() not in record) + Counter(moved) == Counter(before)
    assert shape(after)[: len(KEPT)] == KEPT
    with a_doctor(upstash) as doctor:
        assert {finding.repair for finding in doctor.examine(KEY).findings} <= {Repair.NONE}


def shape(records: Sequence[bytes]) -> list[bytes | set[str]]:
    """Return records with each run of inserted results as the set of the calls they answer."""
    shaped: list[bytes | set[str]] = []
    for record in records:
        if NO_RESULT.encode() not in record:
            shaped.append(record)
        elif shaped and isinstance(shaped[-1], set):
            shaped[-1].add(json.loads(record)["data"]["tool_call_id"])
        else:
            shaped.append({json.loads(record)["data"]["tool_call_id"]})
    return shaped


KEPT: list[Any] = [record for position, record in enumerate(DAMAGED) if position not in MOVED]
KEPT.insert(KEPT.index(tool("b")) + 1, {"a", "c"})
KEPT.append({"a"})


class Stopped(Doctor):
    """A doctor that is interrupted at the n-th request: before it is sent, or when it was answered."""

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


@contextmanager
def a_doctor(upstash: LocalUpstash, kind: Callable[..., Doctor] = Doctor, **options: Any) -> Iterator[Doctor]:
    doctor = kind(Store(upstash.url, upstash.token), why_unreadable, **options)
    try:
        yield doctor
    finally:
        doctor.close()


def fix(upstash: LocalUpstash, kind: Callable[..., Doctor] = Doctor, **options: Any) -> list[Finding]:
    done: list[Finding] = []
    with a_doctor(upstash, kind, **options) as doctor:
        doctor.repair(doctor.examine(KEY), done.append)
    return done


def test_the_quarantines_name() -> None:
    assert companion_key("quarantine", KEY) == QUARANTINE
    assert companion_key("quarantine", KEY, "a", "b") == f"{QUARANTINE}:a:b"


def test_every_damage_is_repaired_and_nothing_deleted(upstash: LocalUpstash, run: Call) -> None:
    push(upstash, DAMAGED)
    run("EXPIRE", KEY, 500)
    before_all = upstash.stats
    assert len(fix(upstash)) == REPAIRS
    assert (upstash.stats - before_all).requests == 1 + REPAIRS
    assert_sound(upstash, DAMAGED)
    assert 490 <= run("TTL", KEY) <= 500
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
        assert note["key"] == KEY
        assert record == DAMAGED[note["position"]]
        assert note["sha1"] == hashlib.sha1(record).hexdigest()
        assert started - 1 <= note["time_ms"] <= time.time() * 1000
        assert note["reason"]
        assert note["damage"]


def test_a_record_can_be_put_back_byte_for_byte(upstash: LocalUpstash, run: Call) -> None:
    """As docs/doctor.md says."""
    push(upstash, [human(), b"\xff\xfe"])
    fix(upstash)
    note = run("LPOP", QUARANTINE)
    assert json.loads(note)["position"] == 1
    run("LMOVE", QUARANTINE, KEY, "LEFT", "LEFT")
    assert stored(upstash) == [human(), b"\xff\xfe"]
    assert run("EXISTS", QUARANTINE) == 0


def test_what_was_repaired_can_be_read(upstash: LocalUpstash) -> None:
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
            fix(upstash, Stopped, at=at, answered=answered)
        fix(upstash)
        assert_sound(upstash, DAMAGED)


@pytest.mark.parametrize("kind", ["reply_lost", "request_lost", "truncated", "server_error"])
def test_every_reply_is_lost_once(upstash: LocalUpstash, kind: Any) -> None:
    class Unlucky(Doctor):
        def _do(self, *args: Any) -> bool:
            upstash.faults.add(kind, times=1, matching="EVAL")
            return super()._do(*args)

    push(upstash, DAMAGED)
    assert len(fix(upstash, Unlucky)) == REPAIRS
    assert_sound(upstash, DAMAGED)


def test_a_repair_that_arrives_late_is_not_done_twice(upstash: LocalUpstash) -> None:
    push(upstash, DAMAGED)
    upstash.faults.add("applied_late", seconds=0.3, times=3, matching="EVAL")
    assert len(fix(upstash)) == REPAIRS
    time.sleep(0.5)
    assert_sound(upstash, DAMAGED)


def test_two_doctors_at_once(upstash: LocalUpstash) -> None:
    push(upstash, DAMAGED)
    done: list[list[Finding]] = []
    with a_doctor(upstash) as one, a_doctor(upstash) as other:
        seen = [(doctor, doctor.examine(KEY)) for doctor in (one, other)]
        results: list[Any] = []

        def treat(doctor: Doctor, examination: Any) -> None:
            mine: list[Finding] = []
            results.append(doctor.repair(examination, mine.append))
            done.append(mine)

        threads = [threading.Thread(target=treat, args=pair) for pair in seen]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(results) == 2
    assert sum(map(len, done)) == REPAIRS
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


def test_what_changed_since_it_was_seen_is_left_alone(upstash: LocalUpstash, run: Call) -> None:
    push(upstash, [human("1"), b"bad", ai("a", rid=rid(1, time_ms=HOUR_AGO))])
    with a_doctor(upstash) as doctor:
        examination = doctor.examine(KEY)
        # The result arrives after all, and somebody else mends the bad record.
        push(upstash, [tool("a")])
        run("LSET", KEY, -2, human("mended").decode())
        done: list[Finding] = []
        assert doctor.repair(examination, done.append) == []
    assert done == []
    assert stored(upstash) == [human("1"), human("mended"), ai("a", rid=rid(1, time_ms=HOUR_AGO)), tool("a")]
    assert run("EXISTS", QUARANTINE) == 0


def test_a_copy_is_not_moved_once_the_older_one_is_gone(upstash: LocalUpstash, run: Call) -> None:
    push(upstash, [human("x", rid(1)), human("y"), human("x", rid(1))])
    with a_doctor(upstash) as doctor:
        examination = doctor.examine(KEY)
        run("RPOP", KEY)
        push(upstash, [human("x", rid(2))])
        assert doctor.repair(examination, pytest.fail) == []
    assert run("LLEN", KEY) == 3


def test_an_insertion_that_is_refused_leaves_the_record_as_it_was(
    upstash: LocalUpstash, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where the database is full: the command fails while the script is under way.
    monkeypatch.setattr(repair, "_INSERT", repair._INSERT.replace("'LINSERT'", "'NOSUCHCOMMAND'"))
    conversation = [human(), ai("a"), human()]
    push(upstash, conversation)
    with pytest.raises(DatabaseError):
        fix(upstash)
    assert stored(upstash) == conversation


def test_a_conversation_of_many_megabytes(upstash: LocalUpstash) -> None:
    large = [human(f"{number}" + "x" * 1_500_000) for number in range(9)]
    push(upstash, [*large[:4], b"bad" * 500_000, *large[4:], b"bad"])
    assert len(fix(upstash)) == 2
    assert stored_one_by_one(upstash) == large


def stored_one_by_one(upstash: LocalUpstash) -> list[bytes]:
    count = request(upstash, ["LLEN", KEY])
    return [request(upstash, ["LINDEX", KEY, -1 - position]).encode() for position in range(count)]


def test_a_conversation_of_many_records(upstash: LocalUpstash, run: Call) -> None:
    records = [human(str(number)).decode() for number in range(2500)]
    records[0] = records[1000] = records[2499] = "bad"
    run("LPUSH", KEY, *records)
    assert len(fix(upstash)) == 3
    assert stored(upstash) == [record.encode() for record in records if record != "bad"]


def test_scripts_lock_only_their_keys_and_cost_few_commands(upstash: LocalUpstash) -> None:
    push(upstash, [human(), b"bad", human()])
    with a_doctor(upstash) as doctor:
        examination = doctor.examine(KEY)
        before = upstash.stats
        doctor.repair(examination, lambda _: None)
    spent = upstash.stats - before
    assert spent.requests == 1
    assert spent.billed_commands <= 9
    assert repair._MOVE.startswith("#!lua flags=allow-key-locking\n")
    assert repair._INSERT.startswith("#!lua flags=allow-key-locking\n")


# The command line


def chatstash(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["doctor", *arguments])


def as_json(*arguments: str) -> Any:
    return json.loads(chatstash("--json", *arguments).stdout)


def test_a_dry_run_shows_all_and_changes_nothing(upstash_environment: LocalUpstash) -> None:
    push(upstash_environment, DAMAGED)
    shown = chatstash()
    assert shown.exit_code == 1
    assert shown.stdout.count("would be moved to quarantine") == len(MOVED)
    assert shown.stdout.count("would be inserted") == 3
    assert "13 findings in 1 of 1 conversation. Nothing was changed. Run it again with --fix" in shown.stdout
    assert stored(upstash_environment) == DAMAGED
    assert quarantined(upstash_environment) == []


def test_fix_repairs_and_says_so(upstash_environment: LocalUpstash, run: Call) -> None:
    push(upstash_environment, [record for record in DAMAGED if b'"v"' not in record])
    shown = chatstash("--fix")
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert "12 findings repaired in 1 of 1 conversation. Nothing was deleted." in shown.stdout
    assert QUARANTINE in shown.stdout
    again = chatstash("--fix")
    # rich before 14 ends its progress with an empty line, too.
    assert (again.exit_code, again.stdout.strip()) == (0, "1 conversation examined, nothing found.")


def test_each_finding_is_printed_once(upstash_environment: LocalUpstash) -> None:
    for name in "abcd":
        push(upstash_environment, [b"bad", human()] if name in "ac" else [human()], f"message_store:{name}")
    shown = chatstash().stdout
    assert [shown.count(f"message_store:{name}") for name in "abcd"] == [1, 0, 1, 0]
    assert shown.count("would be moved") == 2


def test_what_was_done_before_the_quota_was_used_up_is_told() -> None:
    # Pushes and one read, then a repair of seven commands, and no second one.
    with LocalUpstash(plan=limits_of("free", max_commands=3 + 1 + 1 + 7)) as upstash:
        push(upstash, [b"bad", b"bad", human()])
        shown = CliRunner().invoke(app, ["doctor", "--fix"], env=upstash.environment)
    assert shown.exit_code == 2
    assert "commands are used up" in shown.stderr
    assert "1 finding repaired, 1 left, in" in shown.stdout
    assert shown.stdout.count("moved to quarantine") == 1


def test_json_has_everything(upstash_environment: LocalUpstash) -> None:
    push(upstash_environment, DAMAGED)
    before = as_json()
    assert (before["fix"], before["remaining"], before["repaired"], before["conversations"]) == (False, 13, 0, 1)
    assert {"key": KEY, "damage": "undecodable", "position": 1, "record_id": None, "repair": "move to quarantine",
            "repaired": False, "quarantine": QUARANTINE,
            "reason": "it is not JSON (Expecting value: line 1 column 1 (char 0))"} in before["findings"]  # fmt: skip
    after = as_json("--fix")
    assert (after["fix"], after["remaining"], after["repaired"]) == (True, 1, 12)
    assert [finding["damage"] for finding in after["findings"] if not finding["repaired"]] == ["newer-form"]
    assert as_json("--fix")["repaired"] == 0


def test_session_ids_and_prefix(upstash_environment: LocalUpstash) -> None:
    push(upstash_environment, [b"bad"], "message_store:one")
    push(upstash_environment, [b"bad"], "message_store:two")
    push(upstash_environment, [b"bad"], "other:one")
    assert {finding["key"] for finding in as_json()["findings"]} == {"message_store:one", "message_store:two"}
    assert {finding["key"] for finding in as_json("two", "two")["findings"]} == {"message_store:two"}
    assert {finding["key"] for finding in as_json("--key-prefix", "other:")["findings"]} == {"other:one"}
    assert {finding["key"] for finding in as_json("--key-prefix", "o*")["findings"]} == set()


def test_keys_that_are_no_conversations_are_left_alone(upstash_environment: LocalUpstash, run: Call) -> None:
    run("SET", "message_store:text", "x")
    run("LPUSH", "chatstash:quarantine:x", "x")
    run("LPUSH", "queue", '{"type":"mail","data":{}}', "job")
    push(upstash_environment, [b"bad", human()], "mine")
    found = as_json("--key-prefix", "", "--fix")
    assert {finding["key"] for finding in found["findings"]} == {"mine"}
    assert list(found["skipped"].values()) == [1]
    assert run("LLEN", "queue") == 2
    assert run("LLEN", "chatstash:quarantine:x") == 1
    assert {finding["key"] for finding in as_json("--key-prefix", "", "queue")["findings"]} == {"queue"}
    assert chatstash("--key-prefix", "", "chatstash:quarantine:x").exit_code == 2


def test_a_key_that_is_no_text(upstash_environment: LocalUpstash) -> None:
    request(upstash_environment, human(), "/lpush/message_store:%ff")
    assert as_json()["skipped"] == {"its name is not UTF-8": 1}


def test_no_expiry_is_added_or_shortened_unless_asked(upstash_environment: LocalUpstash, run: Call) -> None:
    for name in "abcd":
        push(upstash_environment, [b"bad", human()], f"message_store:{name}")
    for name in "abd":
        run("EXPIRE", f"message_store:{name}", 1000)
    assert chatstash("--fix").exit_code == 0
    assert run("TTL", "message_store:c") == -1
    assert chatstash("c", "--fix", "--ttl", "600").exit_code == 0
    assert chatstash("--fix", "--ttl", "30").exit_code == 0
    assert 590 <= run("TTL", "message_store:c") <= 600
    assert 900 <= run("TTL", "message_store:a") <= 1000


def test_an_expiry_where_none_has_one_only_if_asked(upstash_environment: LocalUpstash, run: Call) -> None:
    push(upstash_environment, [human()])
    assert chatstash("--fix").exit_code == 0
    assert run("TTL", KEY) == -1
    assert chatstash("--ttl", "600").exit_code == 1
    assert run("TTL", KEY) == -1
    assert chatstash("--ttl", "600", "--fix").exit_code == 0
    assert 590 <= run("TTL", KEY) <= 600


def test_abandoned_after(upstash_environment: LocalUpstash) -> None:
    push(upstash_environment, [ai("a", rid=rid(1, time_ms=int(time.time() * 1000) - 60_000))])
    assert chatstash().exit_code == 0
    assert chatstash("--older-than", "30").exit_code == 1
    assert chatstash("--older-than", "90").exit_code == 0


def test_what_is_stored_cannot_forge_the_output(upstash_environment: LocalUpstash) -> None:
    evil = "message_store:[bold]x[/bold]\x1b[2J\r\nforged :smile:\u202e"
    run_key = [
        "LPUSH",
        evil,
        '{"type":"[red]\\u001b[31m\\n","data":{}}',
        "secret words",
        '{"type":"ai","data":{},"v":"\\u001b"}',
    ]
    request(upstash_environment, run_key)
    shown = chatstash("--fix").stdout
    assert "\x1b" not in shown
    assert "\r" not in shown
    assert "\u202e" not in shown
    assert "secret" not in shown
    assert "[bold]x[/bold]" in shown
    assert ":smile:" in shown
    assert not [line for line in shown.splitlines() if line.startswith("forged")]


def test_a_read_only_token(monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalUpstash(read_only_token="reader") as upstash:
        push(upstash, [b"bad", human()])
        monkeypatch.setenv("UPSTASH_REDIS_REST_URL", upstash.url)
        monkeypatch.setenv("UPSTASH_REDIS_REST_TOKEN", "reader")
        shown = chatstash()
        assert shown.exit_code == 2
        assert "those that are named" in shown.stderr
        assert chatstash("s").exit_code == 1
        refused = chatstash("s", "--fix")
        assert refused.exit_code == 2
        assert "standard token" in refused.stderr
        assert stored(upstash) == [b"bad", human()]


def test_a_wrong_token_and_no_url(upstash_environment: LocalUpstash, monkeypatch: pytest.MonkeyPatch) -> None:
    push(upstash_environment, DAMAGED)
    monkeypatch.setenv("UPSTASH_REDIS_REST_TOKEN", "wrong-secret")
    shown = chatstash("a", "b", "c")
    assert shown.exit_code == 2
    assert shown.stderr.count("does not accept the token") == 1
    assert "wrong-secret" not in shown.output
    assert as_json()["stopped_by"]
    monkeypatch.delenv("UPSTASH_REDIS_REST_URL")
    shown = chatstash()
    assert shown.exit_code == 2
    assert "UPSTASH_REDIS_REST_URL" in shown.stderr
    assert "Traceback" not in shown.output


@pytest.mark.parametrize(
    "arguments", [["--ttl", "0"], ["--older-than", "-1"], ["--older-than", "nan"], ["--timeout", "0"], [""], ["--what"]]
)
def test_bad_arguments(upstash_environment: LocalUpstash, arguments: list[str]) -> None:
    assert chatstash(*arguments).exit_code == 2
    assert upstash_environment.stats.requests == 0


def test_trouble_with_one_key_does_not_stop_the_others(upstash_environment: LocalUpstash) -> None:
    for name in "abc":
        push(upstash_environment, [b"bad"], f"message_store:{name}")
    upstash_environment.faults.add("server_error", matching="LRANGE message_store:b")
    shown = chatstash("--fix", "--timeout", "2")
    assert shown.exit_code == 2
    assert "message_store:b" in shown.stderr
    assert "2 findings repaired" in shown.stdout
    upstash_environment.faults.clear()
    assert chatstash("--fix").exit_code == 0


def test_trouble_in_the_midst_of_repairs(upstash_environment: LocalUpstash) -> None:
    push(upstash_environment, [b"bad", b"bad", human()])
    upstash_environment.faults.add("delay", times=1, matching="EVAL")
    upstash_environment.faults.add("server_error", matching="EVAL", applied=False)
    found = as_json("--fix", "--timeout", "2")
    assert (found["repaired"], found["remaining"], len(found["errors"])) == (0, 2, 1)


def test_ctrl_c_tells_what_was_done(upstash_environment: LocalUpstash, monkeypatch: pytest.MonkeyPatch) -> None:
    push(upstash_environment, DAMAGED)
    done = 0
    plain = Doctor._do

    def three(self: Doctor, *args: Any) -> bool:
        nonlocal done
        done += 1
        if done > 3:
            raise KeyboardInterrupt
        return plain(self, *args)

    monkeypatch.setattr(Doctor, "_do", three)
    shown = chatstash("--fix")
    assert shown.exit_code == 130
    assert "3 findings repaired, 10 left, in" in shown.stdout
    assert "Interrupted" in shown.stderr
    assert shown.stdout.count("\n    ") > 13
    monkeypatch.undo()
    for name, value in upstash_environment.environment.items():
        monkeypatch.setenv(name, value)
    assert chatstash("--fix").exit_code == 1
    assert_sound(upstash_environment, DAMAGED)


CHATSTASH = [sys.executable, "-m", "chatstash", "doctor"]


def test_a_real_ctrl_c(upstash: LocalUpstash) -> None:
    push(upstash, DAMAGED)
    upstash.faults.add("delay", seconds=0.2, matching="EVAL")
    with subprocess.Popen(
        [*CHATSTASH, "--fix"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **upstash.environment},
    ) as process:  # fmt: skip
        while not quarantined(upstash):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Nothing was deleted." in out
    assert "Interrupted. What was done is complete" in err
    assert "Traceback" not in err
    upstash.faults.clear()
    fix(upstash)
    assert_sound(upstash, DAMAGED)


def test_on_a_terminal_there_is_a_bar(upstash: LocalUpstash) -> None:
    push(upstash, [human(), b"bad"])
    ours, theirs = pty.openpty()
    variables = {**os.environ, **upstash.environment, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(CHATSTASH, stdout=theirs, stderr=theirs, env=variables) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # Linux reports the other side's end so
            while part := os.read(ours, 10_000):
                shown += part
        assert process.wait(30) == 1
    os.close(ours)
    assert b"Examining conversations" in shown
    assert b"would be moved to quarantine" in shown
    assert b"\x1b[?25h" in shown, "the cursor is to be shown again"


def test_a_key_of_another_type(upstash: LocalUpstash, run: Call) -> None:
    run("SET", KEY, "x")
    with a_doctor(upstash) as doctor, pytest.raises(WrongType):
        doctor.examine(KEY)


def test_a_key_that_is_listed_twice_is_visited_once(upstash: LocalUpstash, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = iter([("5", [b"a", b"b", b"a"]), ("0", [b"b", b"c"])])

    def scan(prefix: str, cursor: str) -> Any:
        yield from ()
        return next(pages)

    monkeypatch.setattr(listing, "scan", scan)
    with a_doctor(upstash) as doctor:
        assert list(doctor.list_keys()) == [b"a", b"b", b"c"]


def test_more_keys_than_one_page(upstash: LocalUpstash, run: Call) -> None:
    names = {f"message_store:{number}" for number in range(1500)}
    assert len(request(upstash, ["EVAL", "for _, key in ipairs(KEYS) do redis.call('LPUSH', key, 'x') end return 'ok'",
                                 len(names), *names])) == 2  # fmt: skip
    with a_doctor(upstash) as doctor:
        assert {key.decode() for key in doctor.list_keys()} == names
        assert set(doctor.without_expiry(names, ttl=5)) == names


def test_errors_of_the_doctor_itself(upstash: LocalUpstash) -> None:
    for abandoned_after in (-1, "1", True, float("nan")):
        with pytest.raises(ValueError, match="abandoned_after"):
            Doctor(Store(upstash.url, upstash.token), why_unreadable, abandoned_after=abandoned_after)  # type: ignore[arg-type]
    with a_doctor(upstash) as doctor, pytest.raises(ValueError, match="chatstash:"):
        doctor.examine("chatstash:x")
    assert issubclass(ReadOnlyToken, DatabaseError)


def test_a_conversation_that_is_named_and_does_not_exist(upstash_environment: LocalUpstash) -> None:
    push(upstash_environment, [human()], "message_store:there")
    push(upstash_environment, [b"bad", human()], "message_store:damaged")
    shown = chatstash("nope")
    assert (shown.exit_code, shown.stdout.strip()) == (1, "0 conversations examined, nothing found.")
    assert shown.stderr.strip() == "message_store:nope: no such conversation."
    shown = chatstash("nope", "there", "damaged", "--fix")
    assert shown.exit_code == 1
    assert "1 finding repaired in 1 of 2 conversations. Nothing was deleted." in shown.stdout
    assert "message_store:nope: no such conversation." in shown.stderr
    found = as_json("nope", "there")
    assert (found["missing"], found["conversations"], found["findings"]) == (["message_store:nope"], 1, [])
    assert chatstash("there").exit_code == 0
    assert chatstash("--key-prefix", "empty:").exit_code == 0


@pytest.mark.parametrize("arguments", [[], ["--fix"], ["a", "h"], ["a", "h", "--fix", "--ttl", "60"]])
def test_a_key_of_another_type_is_reported_and_left_as_it_is(
    upstash_environment: LocalUpstash, run: Call, arguments: list[str]
) -> None:
    run("HSET", "message_store:h", "field", "value")
    push(upstash_environment, [human()], "message_store:a")
    shown = chatstash(*arguments)
    assert shown.exit_code == 1
    assert "message_store:h" in shown.stdout
    assert "its value is not a list" in shown.stdout
    assert "of 2 conversations." in shown.stdout
    (finding,) = as_json(*arguments)["findings"]
    assert (finding["key"], finding["damage"], finding["repaired"]) == ("message_store:h", "other-type", False)
    assert run("TTL", "message_store:h") == -1
    assert run("HGETALL", "message_store:h") == ["field", "value"]


def test_an_expiry_is_set_on_lists_alone(upstash: LocalUpstash, run: Call) -> None:
    push(upstash, [human()])
    with a_doctor(upstash) as doctor:
        (finding,) = doctor.without_expiry([KEY], ttl=60).values()
        run("DEL", KEY)
        run("SET", KEY, "another program's")
        assert doctor.expire(KEY, finding) is False
        assert run("TTL", KEY) == -1
        with pytest.raises(ValueError, match="ttl"):
            doctor.without_expiry([KEY], ttl=None)  # type: ignore[arg-type]


def result_block(call_id: str) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": "r"}


def test_results_among_what_a_person_says(upstash: LocalUpstash, run: Call) -> None:
    words = {"type": "text", "text": "and tell me"}
    use = ai(content=[{"type": "tool_use", "id": "a", "name": "f", "input": {}}])
    valid = [human(), use, raw("human", {"content": [result_block("a"), words]}, rid(5, time_ms=HOUR_AGO)), human()]
    push(upstash, valid)
    assert fix(upstash) == []
    run("DEL", KEY)
    of_no_call = raw("human", {"content": [result_block("x")]})
    partly = raw("human", {"content": [result_block("a"), result_block("x"), words]}, rid(6, time_ms=HOUR_AGO))
    push(upstash, [human(), of_no_call, use, partly, human()])
    run("EXPIRE", KEY, 500)
    before = upstash.stats
    assert [finding.repair for finding in fix(upstash)] == [Repair.TAKE_OUT, Repair.QUARANTINE]
    assert (upstash.stats - before).requests == 3
    after = stored(upstash)
    assert [json.loads(record)["data"]["content"] for record in after] == [
        "hi", [{"type": "tool_use", "id": "a", "name": "f", "input": {}}], [result_block("a"), words], "hi",
    ]  # fmt: skip
    assert json.loads(after[2])["rid"] == str(rid(6, time_ms=HOUR_AGO))
    assert [record for _, record in quarantined(upstash)] == [partly, of_no_call]
    assert run("TTL", KEY) > 490
    assert fix(upstash) == []


def test_where_the_quarantine_takes_nothing_nothing_is_moved(upstash_environment: LocalUpstash, run: Call) -> None:
    damaged = [human(), b"bad", raw("human", {"content": [result_block("x"), {"type": "text", "text": "t"}]})]
    push(upstash_environment, damaged)
    run("SET", QUARANTINE, "another program's")
    shown = chatstash("--fix")
    assert shown.exit_code == 2
    assert f"{KEY}: The key, or its quarantine {QUARANTINE}, holds no list." in shown.stderr
    assert "2 findings left" in shown.stdout
    assert stored(upstash_environment) == damaged
    assert run("GET", QUARANTINE) == "another program's"


SECRET = "hunter2"
TELLING = [
    SECRET.encode(),
    b"\xff" + SECRET.encode(),
    b'{"type": "human", "data": {"content": "' + SECRET.encode(),
    json.dumps(SECRET).encode(),
    raw(SECRET, {"content": SECRET}),
    raw("human", {"content": {SECRET: SECRET}}),
    raw("human", {"content": SECRET}, v=SECRET),
    raw("human", {"content": SECRET}, v={SECRET: SECRET}),
    raw("ai", {"content": SECRET, "usage_metadata": {SECRET: SECRET}}),
    raw("ai", {"content": SECRET, "tool_calls": [{"name": SECRET, "args": SECRET, "id": SECRET}]}),
    raw("human", {"content": [{"type": "tool_result", "tool_use_id": SECRET}, {"type": "text", "text": SECRET}]}),
    ai(SECRET),
    tool(SECRET * 2),
    raw("function", {"content": SECRET, "name": SECRET}),
    human(SECRET),
]


@pytest.mark.parametrize("arguments", [[], ["--json"], ["--fix"], ["--fix", "--json"]])
def test_what_messages_say_is_never_printed(upstash_environment: LocalUpstash, arguments: list[str]) -> None:
    push(upstash_environment, TELLING)
    process = subprocess.run(
        [*CHATSTASH, *arguments], capture_output=True, text=True, check=False,
        env={**os.environ, **upstash_environment.environment},
    )  # fmt: skip
    assert process.returncode == 1
    assert SECRET not in process.stdout + process.stderr
    assert process.stderr == ""


def test_what_a_server_says_of_a_repair_is_not_printed(
    upstash_environment: LocalUpstash, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a server that refuses a script and quotes its arguments.
    monkeypatch.setattr(repair, "_INSERT", "return redis.error_reply('ERR unknown command, with args: ' .. ARGV[3])")
    push(upstash_environment, [ai(SECRET), human()])
    shown = chatstash("--fix")
    assert shown.exit_code == 2
    assert shown.stderr.startswith(f"{KEY}: ")
    assert SECRET not in shown.output
