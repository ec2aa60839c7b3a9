"""The command `migrate`: what it imports and prints, its exit codes, and going on after an interruption."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from typer.testing import CliRunner, Result

pytest.importorskip("langgraph.checkpoint")

from langchain_core.messages import AIMessage, HumanMessage

from chatstash import Store, UpstashRedisChatMessageHistory
from chatstash.cli.app import app
from chatstash.cli.migrate import run as migration
from chatstash.cli.migrate.command import DEFAULT_CHECKPOINT_PREFIX
from chatstash.langgraph import UpstashRedisSaver
from chatstash.langgraph.saver import DEFAULT_PREFIX
from chatstash.local import LocalUpstash
from tests.conftest import command
from tests.langgraph.migration.support import TURNS, config_of, contents


def chatstash(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["migrate", *arguments])


def lines(*arguments: str) -> list[Any]:
    return [json.loads(line) for line in chatstash("--json", *arguments).stdout.splitlines()]


def fill(upstash: LocalUpstash, *session_ids: str) -> Store:
    store = Store(upstash.url, upstash.token)
    for session_id in session_ids:
        UpstashRedisChatMessageHistory(session_id, store=store).add_messages(TURNS)
    return store


def imported(store: Store, thread_id: str, **options: Any) -> Any:
    found = UpstashRedisSaver(store=store, **options).get_tuple(config_of(thread_id))
    return None if found is None else contents(found.checkpoint["channel_values"]["messages"])


def test_all_conversations_are_imported_and_the_second_time_none(upstash_environment: LocalUpstash) -> None:
    store = fill(upstash_environment, "a", "b", "c")
    done = chatstash()
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.count("imported: 7 messages to ") == 3
    assert done.stdout.endswith("Imported 21 messages of 3 conversations.\n")
    assert [imported(store, name) for name in "abc"] == [contents(TURNS)] * 3
    again = chatstash()
    assert (again.exit_code, again.stdout.strip()) == (0, "Imported 0 messages of 0 conversations; 3 unchanged.")


def test_many_conversations_are_listed_in_pages(upstash_environment: LocalUpstash) -> None:
    record = json.dumps({"type": "human", "data": {"content": "Hello"}})
    script = (
        "for i = 1, 2500 do redis.call('SET', KEYS[1] .. i, 'x') end redis.call('LPUSH', KEYS[1] .. 'last', ARGV[1])"
    )
    command(upstash_environment, "EVAL", script, 1, "message_store:", record)
    *conversations, summary = lines()
    assert summary["conversations"] == {"skipped": 2500, "created": 1}
    assert len({each["key"] for each in conversations}) == 2501
    assert {each["error"] for each in conversations if each["status"] == "skipped"} == {"not a list"}


def test_named_sessions_prefixes_and_a_ttl(upstash_environment: LocalUpstash) -> None:
    store = fill(upstash_environment, "a", "b")
    options = ("--thread-prefix", "chat-", "--checkpoint-prefix", "cp:", "--messages-key", "log", "--ttl", "500")
    first, summary = lines("--session", "b", *options)
    assert first == {
        "type": "conversation", "session_id": "b", "key": "message_store:b", "thread_id": "chat-b",
        "status": "created", "messages": 7, "added": 7, "updated": 0, "unreadable": [], "error": None,
    }  # fmt: skip
    assert summary == {
        "type": "summary", "dry_run": False, "conversations": {"created": 1}, "messages": 7, "unreadable": 0,
        "stopped_by": None, "interrupted": False,
    }  # fmt: skip
    found = UpstashRedisSaver(store=store, key_prefix="cp:").get_tuple(config_of("chat-b"))
    assert found is not None
    assert list(found.checkpoint["channel_values"]) == ["log"]
    keys = command(upstash_environment, "KEYS", "cp:*chat-b*")
    assert keys
    assert all(0 < command(upstash_environment, "TTL", key) <= 500 for key in keys)


def test_with_an_empty_prefix_other_lists_are_skipped(upstash_environment: LocalUpstash) -> None:
    store = fill(upstash_environment, "a")
    command(upstash_environment, "LPUSH", "queue", "job 1")
    command(upstash_environment, "SET", "text", "x")
    done = chatstash("--key-prefix", "")
    assert done.exit_code == 0
    assert "queue  skipped: no readable message, so it may not be a conversation" in done.stdout
    assert imported(store, "message_store:a") == contents(TURNS)
    assert chatstash("--key-prefix", "", "--session", "queue").exit_code == 1


def test_a_dry_run_stores_nothing(upstash_environment: LocalUpstash) -> None:
    store = fill(upstash_environment, "a")
    before = sorted(command(upstash_environment, "KEYS", "*"))
    done = chatstash("--dry-run")
    assert done.exit_code == 0
    assert "a  would be imported: 7 messages to a" in done.stdout
    assert "Would import 7 messages of 1 conversation." in done.stdout
    assert sorted(command(upstash_environment, "KEYS", "*")) == before
    assert imported(store, "a") is None


def test_what_is_not_imported_is_said(upstash_environment: LocalUpstash) -> None:
    store = fill(upstash_environment, "a", "used", "bad")
    command(upstash_environment, "LPUSH", "message_store:bad", "hunter2 is no JSON")
    from langgraph.checkpoint.base import empty_checkpoint

    UpstashRedisSaver(store=store).put(config_of("used") | {"metadata": {}}, empty_checkpoint(), {}, {})
    named = ["--session", "a", "--session", "used", "--session", "bad", "--session", "none"]
    done = chatstash(*named)
    assert done.exit_code == 1
    assert "used  refused: The thread 'used' lacks 7 messages" in done.stdout
    assert "bad  unreadable: records cannot be read; --skip-unreadable leaves them out\n    record 7: " in done.stdout
    assert "none  missing: there is no such conversation" in done.stdout
    assert "Imported 7 messages of 1 conversation; 1 refused, 1 unreadable, 1 missing." in done.stdout
    assert "hunter2" not in done.output
    assert chatstash(*named[:2], "--session", "used", "--merge").exit_code == 0
    assert imported(store, "used") == contents(TURNS)
    skipped = chatstash("--session", "bad", "--skip-unreadable")
    assert skipped.exit_code == 1
    assert "bad  imported: 7 messages to bad\n    record 7: " in skipped.stdout


def test_a_run_goes_on_where_it_was_interrupted(
    upstash_environment: LocalUpstash, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fill(upstash_environment, "a", "b", "c")
    original, calls = migration.import_history, []

    def interrupted(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    monkeypatch.setattr(migration, "import_history", interrupted)
    done = chatstash()
    assert done.exit_code == 130
    assert "Interrupted." in done.stderr
    monkeypatch.undo()
    for name, value in upstash_environment.environment.items():
        monkeypatch.setenv(name, value)
    *_, summary = lines()
    assert summary["conversations"] == {"created": 2, "unchanged": 1}
    assert [imported(store, name) for name in "abc"] == [contents(TURNS)] * 3


def test_stored_text_cannot_control_the_terminal(upstash_environment: LocalUpstash) -> None:
    hostile = "\x1b[31mred\x07\r\n[bold]x"
    fill(upstash_environment, hostile)
    command(upstash_environment, "LPUSH", f"message_store:{hostile}bad", "\x1b[2J")
    done = chatstash()
    assert done.exit_code == 1
    assert not {"\x1b", "\x07", "\r"} & {*done.output}
    assert "[bold]x" in done.stdout
    assert {each["session_id"] for each in lines()[:-1]} == {hostile, hostile + "bad"}


def test_a_key_that_is_not_utf8_is_said(upstash_environment: LocalUpstash) -> None:
    script = "return redis.call('LPUSH', KEYS[1] .. '\\255', 'x')"
    command(upstash_environment, "EVAL", script, 1, "message_store:")
    done = chatstash()
    assert done.exit_code == 1
    assert "failed: the session_id or key_prefix contains half a surrogate pair" in done.stdout


def test_a_read_only_token(upstash: LocalUpstash, monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalUpstash(read_only_token="reader") as server:
        store = fill(server, "a")
        monkeypatch.setenv("UPSTASH_REDIS_REST_URL", server.url)
        monkeypatch.setenv("UPSTASH_REDIS_REST_TOKEN", "reader")
        for arguments in ([], ["--session", "a"]):
            done = chatstash(*arguments)
            assert done.exit_code == 2
            assert "A read-only token cannot list conversations or store threads." in done.stderr
        assert chatstash("--dry-run", "--session", "a").exit_code == 0
        assert imported(store, "a") is None
        store.close()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--session", ""], "session_id must not be empty"),
        (["--key-prefix", "chatstash:x"], "reserved"),
        (["--messages-key", ""], "--messages-key must not be empty"),
        (["--checkpoint-prefix", "chatstash:"], "reserved"),
        (["--ttl", "0"], "--ttl"),
        (["--url", "redis://x"], "https://"),
    ],
)
def test_bad_usage_ends_with_2(upstash_environment: LocalUpstash, arguments: list[str], said: str) -> None:
    done = chatstash(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


def test_without_langgraph_it_says_what_to_install(
    upstash_environment: LocalUpstash, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith(("chatstash.langgraph", "chatstash.cli.migrate.run"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "langgraph.checkpoint.base", None)
    done = chatstash()
    assert done.exit_code == 1
    assert "pip install 'chatstash[cli,langgraph]'" in done.stderr


def test_an_error_in_one_conversation_does_not_stop_the_others(upstash_environment: LocalUpstash) -> None:
    store = fill(upstash_environment, "a")
    big = UpstashRedisChatMessageHistory("big", store=store)
    big.add_messages([HumanMessage("x", additional_kwargs={"number": 2**70}), AIMessage("y")])
    *conversations, summary = lines()
    assert summary["conversations"] == {"created": 1, "failed": 1}
    (failed,) = [each for each in conversations if each["status"] == "failed"]
    assert "'messages' cannot be stored" in failed["error"]


def test_the_prefix_is_that_of_the_saver() -> None:
    assert DEFAULT_CHECKPOINT_PREFIX == DEFAULT_PREFIX
