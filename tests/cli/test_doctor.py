"""The command `doctor`: what it prints, its exit codes, and what it leaves alone."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from chatstash import DatabaseError
from chatstash.cli.app import app
from chatstash.history.doctor.doctor import Doctor
from chatstash.local import LocalUpstash, limits_of
from tests.conftest import Call
from tests.contract.damaged import (
    DAMAGED,
    KEY,
    MOVED,
    QUARANTINE,
    assert_sound,
    fix,
    push,
    quarantined,
    request,
    result_block,
    stored,
)
from tests.contract.test_doctor import with_scripts
from tests.history.doctor.test_diagnosis import ai, human, raw, rid, tool

CHATSTASH = [sys.executable, "-m", "chatstash", "doctor"]


def chatstash(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["doctor", *arguments])


def as_json(*arguments: str) -> Any:
    return json.loads(chatstash("--json", *arguments).stdout)


def test_without_fix_it_shows_all_and_changes_nothing(upstash_environment: LocalUpstash) -> None:
    push(upstash_environment, DAMAGED)
    shown = chatstash()
    assert shown.exit_code == 1
    assert shown.stdout.count("would move it to quarantine") == len(MOVED)
    assert shown.stdout.count("would insert a placeholder error result") == 3
    assert "Found 13 problems in 1 of 1 conversation; nothing was changed. Run again with --fix" in shown.stdout
    assert stored(upstash_environment) == DAMAGED
    assert quarantined(upstash_environment) == []


def test_fix_repairs_and_says_so(upstash_environment: LocalUpstash) -> None:
    push(upstash_environment, [record for record in DAMAGED if b'"v"' not in record])
    shown = chatstash("--fix")
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert "Repaired 12 problems in 1 of 1 conversation; nothing was deleted." in shown.stdout
    assert QUARANTINE in shown.stdout
    again = chatstash("--fix")
    # rich before 14 ends its progress with an empty line, too.
    assert (again.exit_code, again.stdout.strip()) == (0, "Examined 1 conversation: no problems found.")


def test_each_finding_is_printed_once(upstash_environment: LocalUpstash) -> None:
    for name in "abcd":
        push(upstash_environment, [b"bad", human()] if name in "ac" else [human()], f"message_store:{name}")
    shown = chatstash().stdout
    assert [shown.count(f"message_store:{name}") for name in "abcd"] == [1, 0, 1, 0]
    assert shown.count("would move it") == 2


def test_json_has_everything(upstash_environment: LocalUpstash) -> None:
    push(upstash_environment, DAMAGED)
    before = as_json()
    assert (before["fix"], before["remaining"], before["repaired"], before["examined"]) == (False, 13, 0, 1)
    first = before["findings"][0]
    assert first.pop("reason")
    assert first == {"key": KEY, "damage": "undecodable", "position": 1, "record_id": None, "repair": "quarantine",
                     "repaired": False, "quarantine": QUARANTINE}  # fmt: skip
    after = as_json("--fix")
    assert (after["fix"], after["remaining"], after["repaired"]) == (True, 1, 12)
    assert [finding["damage"] for finding in after["findings"] if not finding["repaired"]] == ["newer-format"]


def test_session_ids_and_prefix(upstash_environment: LocalUpstash) -> None:
    push(upstash_environment, [b"bad"], "message_store:one")
    push(upstash_environment, [b"bad"], "message_store:two")
    push(upstash_environment, [b"bad"], "other:one")
    assert {finding["key"] for finding in as_json()["findings"]} == {"message_store:one", "message_store:two"}
    assert [finding["key"] for finding in as_json("two", "two")["findings"]] == ["message_store:two"]
    assert {finding["key"] for finding in as_json("--key-prefix", "other:")["findings"]} == {"other:one"}
    assert as_json("--key-prefix", "o*")["findings"] == []


def test_a_session_id_without_a_conversation(upstash_environment: LocalUpstash, run: Call) -> None:
    push(upstash_environment, [human()], "message_store:there")
    run("HSET", "message_store:hash", "field", "value")
    shown = chatstash("nope", "hash", "there", "--fix", "--ttl", "60")
    assert shown.exit_code == 1
    assert "Skipped 1 key: no such conversation (message_store:nope)." in shown.stderr
    assert "Skipped 1 key: not a list (message_store:hash)." in shown.stderr
    assert "1 of 1 conversation" in shown.stdout
    assert run("TTL", "message_store:hash") == -1
    assert as_json("nope")["skipped"] == [{"key": "message_store:nope", "reason": "no such conversation"}]
    assert chatstash("there").exit_code == 0


def test_keys_that_are_not_conversations_are_left_alone(upstash_environment: LocalUpstash, run: Call) -> None:
    run("SET", "message_store:text", "x")
    request(upstash_environment, human(), "/lpush/message_store:%ff")
    push(upstash_environment, [human()])
    shown = chatstash("--fix")
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert "Skipped 1 key: not a list (message_store:text)." in shown.stdout
    assert "Skipped 1 key: key is not UTF-8 (message_store:\\xff)." in shown.stdout
    assert "Examined 1 conversation: no problems found." in shown.stdout


def test_with_an_empty_prefix_other_programs_lists_are_left_alone(upstash_environment: LocalUpstash, run: Call) -> None:
    run("LPUSH", "chatstash:quarantine:x", "x")
    run("LPUSH", "queue", '{"type":"mail","data":{}}', "job")
    push(upstash_environment, [b"bad", human()], "mine")
    found = as_json("--key-prefix", "", "--fix")
    assert {finding["key"] for finding in found["findings"]} == {"mine"}
    assert [skipped["key"] for skipped in found["skipped"]] == ["queue"]
    assert run("LLEN", "queue") == 2
    assert run("LLEN", "chatstash:quarantine:x") == 1
    assert {finding["key"] for finding in as_json("--key-prefix", "", "queue")["findings"]} == {"queue"}
    assert chatstash("--key-prefix", "", "chatstash:quarantine:x").exit_code == 2


def test_an_expiry_is_set_only_if_asked_and_only_where_there_is_none(
    upstash_environment: LocalUpstash, run: Call
) -> None:
    for name in "ab":
        push(upstash_environment, [b"bad", human()], f"message_store:{name}")
    run("EXPIRE", "message_store:a", 10_000)
    assert chatstash("--fix").exit_code == 0
    assert run("TTL", "message_store:b") == -1
    shown = chatstash("--ttl", "600")
    assert shown.exit_code == 1
    assert shown.stdout.count("would set an expiry of 600 seconds") == 1
    assert run("TTL", "message_store:b") == -1
    assert chatstash("--fix", "--ttl", "600").exit_code == 0
    assert 0 < run("TTL", "message_store:b") <= 600
    assert run("TTL", "message_store:a") > 600


def test_abandoned_after(upstash_environment: LocalUpstash) -> None:
    push(upstash_environment, [ai("a", rid=rid(1, time_ms=int(time.time() * 1000) - 600_000))])
    assert chatstash().exit_code == 0
    assert chatstash("--abandoned-after", "300").exit_code == 1


def test_stored_text_cannot_forge_the_output(upstash_environment: LocalUpstash) -> None:
    evil = "message_store:[bold]x[/bold]\x1b[2J\r\nforged :smile:\u202e"
    records = ['{"type":"[red]\\u001b[31m\\n","data":{}}', "secret words", '{"type":"ai","data":{},"v":"\\u001b"}']
    request(upstash_environment, ["LPUSH", evil, *records])
    request(upstash_environment, ["SET", f"{evil}2", "x"])
    shown = chatstash("--fix").stdout
    assert not {"\x1b", "\r", "\u202e"} & set(shown)
    assert "secret" not in shown
    assert shown.count("[bold]x[/bold]") == 2
    assert shown.count(":smile:") == 2
    assert not [line for line in shown.splitlines() if line.startswith("forged")]


def test_a_read_only_token(monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalUpstash(read_only_token="reader") as upstash:
        push(upstash, [b"bad", human()])
        monkeypatch.setenv("UPSTASH_REDIS_REST_URL", upstash.url)
        monkeypatch.setenv("UPSTASH_REDIS_REST_TOKEN", "reader")
        shown = chatstash()
        assert shown.exit_code == 2
        assert "chatstash doctor SESSION_ID" in shown.stderr
        assert chatstash("s").exit_code == 1
        refused = chatstash("s", "--fix")
        assert refused.exit_code == 2
        assert "standard token" in refused.stderr
        assert stored(upstash) == [b"bad", human()]


def test_a_wrong_token_and_no_url(upstash_environment: LocalUpstash, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize("arguments", [["--timeout", "0"], ["--abandoned-after", "nan"], [""]])
def test_invalid_arguments(upstash_environment: LocalUpstash, arguments: list[str]) -> None:
    assert chatstash(*arguments).exit_code == 2
    assert upstash_environment.stats.requests == 0


def test_an_error_in_one_conversation_does_not_stop_the_others(
    upstash_environment: LocalUpstash, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        push(upstash_environment, [b"bad", b"bad", human()], f"message_store:{name}")
    apply, tries = Doctor._apply, iter([True, True, True, False, True, True])

    def fourth_fails(self: Doctor, *args: Any) -> bool:
        if not next(tries):
            raise DatabaseError("The repair is refused")
        return apply(self, *args)

    monkeypatch.setattr(Doctor, "_apply", fourth_fails)
    shown = chatstash("--fix")
    assert shown.exit_code == 2
    assert shown.stderr.startswith("message_store:b: The repair is refused")
    assert "Repaired 5 of 6 problems in 3 of 3 conversations; nothing was deleted." in shown.stdout
    monkeypatch.undo()


def test_repairs_before_the_quota_ran_out_are_reported() -> None:
    # Pushes and one read, then a repair of seven commands, and no second one.
    with LocalUpstash(plan=limits_of("free", max_commands=3 + 1 + 1 + 7)) as upstash:
        push(upstash, [b"bad", b"bad", human()])
        shown = CliRunner().invoke(app, ["doctor", "--fix"], env=upstash.environment)
    assert shown.exit_code == 2
    assert "commands are used up" in shown.stderr
    assert "Repaired 1 of 2 problems" in shown.stdout
    assert shown.stdout.count("moved to quarantine") == 1


def test_repairs_before_ctrl_c_are_reported(upstash_environment: LocalUpstash, monkeypatch: pytest.MonkeyPatch) -> None:
    push(upstash_environment, DAMAGED)
    apply, tries = Doctor._apply, iter(range(1, 20))

    def three(self: Doctor, *args: Any) -> bool:
        if next(tries) > 3:
            raise KeyboardInterrupt
        return apply(self, *args)

    monkeypatch.setattr(Doctor, "_apply", three)
    shown = chatstash("--fix")
    assert shown.exit_code == 130
    assert "Repaired 3 of 13 problems in" in shown.stdout
    assert "Interrupted" in shown.stderr
    assert shown.stdout.count("not repaired") == 9


def test_a_real_ctrl_c(upstash: LocalUpstash) -> None:
    push(upstash, DAMAGED)
    # Each repair is applied, and its reply held back.
    upstash.faults.add("delay", held=True, applied=True, matching="EVAL")
    with subprocess.Popen(
        [*CHATSTASH, "--fix"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **upstash.environment},
    ) as process:  # fmt: skip
        while len(stored(upstash)) == len(DAMAGED):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "nothing was deleted." in out
    assert err == "Interrupted. Every repair shown is complete; run it again for the rest.\n"
    upstash.faults.clear()
    upstash.release()
    fix(upstash)
    assert_sound(upstash, DAMAGED)


def test_a_terminal_shows_a_progress_bar(upstash: LocalUpstash) -> None:
    push(upstash, [human(), b"bad"])
    ours, theirs = pty.openpty()
    variables = {**os.environ, **upstash.environment, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(CHATSTASH, stdout=theirs, stderr=theirs, env=variables) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how Linux reports that the other side is closed
            while part := os.read(ours, 10_000):
                shown += part
        assert process.wait(60) == 1
    os.close(ours)
    assert b"Examining conversations" in shown
    assert b"would move it to quarantine" in shown
    assert b"\x1b[?25h" in shown, "the cursor is visible again"


def test_a_quarantine_of_another_type_moves_nothing(upstash_environment: LocalUpstash, run: Call) -> None:
    damaged = [human(), b"bad", raw("human", {"content": [result_block("x"), {"type": "text", "text": "t"}]})]
    push(upstash_environment, damaged)
    run("SET", QUARANTINE, "another program's")
    shown = chatstash("--fix")
    assert shown.exit_code == 2
    assert f"{KEY}: The key, or its quarantine {QUARANTINE}, does not hold a list." in shown.stderr
    assert "Repaired 0 of 2 problems" in shown.stdout
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


def test_no_message_is_ever_printed(upstash_environment: LocalUpstash) -> None:
    push(upstash_environment, TELLING)
    for arguments in ([], ["--json"], ["--fix"]):
        shown = chatstash(*arguments)
        assert (shown.exit_code, shown.stderr) == (1, "")
        assert SECRET not in shown.output


def test_the_servers_text_is_not_printed(upstash_environment: LocalUpstash, monkeypatch: pytest.MonkeyPatch) -> None:
    # As a server that refuses a script and quotes its arguments.
    quoting = with_scripts(lambda _: "return redis.error_reply('ERR unknown command, with args: ' .. ARGV[3])")
    monkeypatch.setattr("chatstash.cli.doctor.command.Doctor", quoting)
    push(upstash_environment, [ai(SECRET), human()])
    shown = chatstash("--fix")
    assert shown.exit_code == 2
    assert shown.stderr.startswith(f"{KEY}: ")
    assert SECRET not in shown.output
