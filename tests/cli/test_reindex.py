"""The command `reindex`: what it lists and prints, its exit codes, and an interruption."""

from __future__ import annotations

import json

import pytest
from langchain_core.messages import HumanMessage
from typer.testing import CliRunner, Result

from chatstash import Store, UpstashRedisChatMessageHistory
from chatstash.cli.app import app
from chatstash.local import LocalUpstash


def chatstash(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["reindex", *arguments])


def _fill(upstash: LocalUpstash) -> Store:
    store = Store(upstash.url, upstash.token)
    for session_id, user_id in (("a", None), ("b", None), ("c", "u")):
        UpstashRedisChatMessageHistory(session_id, store=store, user_id=user_id).add_messages([HumanMessage("Hi")])
    return store


def test_all_conversations_are_listed(upstash_environment: LocalUpstash) -> None:
    with _fill(upstash_environment) as store:
        done = chatstash()
        assert (done.exit_code, done.stderr) == (0, "")
        assert done.stdout.startswith("3 sessions on the index; 0 sessions taken off. ")
        assert [session.session_id for session in store.list_sessions().sessions] == ["b", "a"]
        UpstashRedisChatMessageHistory("a", store=store).session().clear()
        before = upstash_environment.stats
        done = chatstash("--json")
        spent = upstash_environment.stats - before
        result = json.loads(done.stdout)
        # The plain store left the session on the index.
        assert (result["listed"], result["dropped"]) == (2, 1)
        assert result["cost"]["commands"] == spent.billed_commands


def test_only_users_and_no_titles(upstash_environment: LocalUpstash) -> None:
    with _fill(upstash_environment) as store:
        assert chatstash("--users-only", "--no-titles").stdout.startswith(
            "1 session on the index; 0 sessions taken off."
        )
        assert store.list_sessions().sessions == []


def test_errors_and_interruptions(upstash_environment: LocalUpstash, monkeypatch: pytest.MonkeyPatch) -> None:
    with _fill(upstash_environment):
        for invalid in (["--ttl", "0"], ["--key-prefix", "chatstash:x"], ["--url", "nothing"]):
            assert chatstash(*invalid).exit_code == 2
        monkeypatch.setenv("UPSTASH_REDIS_REST_TOKEN", "wrong")
        done = chatstash()
        assert done.exit_code == 1
        assert "wrong" not in done.output
        monkeypatch.undo()

    def stop(store: Store, on_progress: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("UPSTASH_REDIS_REST_URL", upstash_environment.url)
    monkeypatch.setenv("UPSTASH_REDIS_REST_TOKEN", upstash_environment.token)
    monkeypatch.setattr(Store, "reindex", stop)
    done = chatstash()
    assert done.exit_code == 130
    assert "run it again for the rest" in done.stderr
