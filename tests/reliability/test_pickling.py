"""Histories, stores and sessions travel to other processes; the token does not."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import pytest

from chatstash import Record, Session, Store, UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash


def _everything(upstash: LocalUpstash) -> list[Any]:
    store = Store(upstash.url, upstash.token, ttl=60, key_prefix="p:")
    history = UpstashRedisChatMessageHistory("s", upstash.url, upstash.token, ttl=60, timeout=7)
    shared = UpstashRedisChatMessageHistory("s", store=store)
    _ = history.redis_client
    return [history, shared, store, store.session("s"), history.read()]


def test_the_token_is_not_pickled(upstash: LocalUpstash) -> None:
    for thing in _everything(upstash):
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            assert upstash.token.encode() not in pickle.dumps(thing, protocol)


def test_what_is_unpickled_works_with_the_environments_token(upstash_environment: LocalUpstash) -> None:
    for thing in _everything(upstash_environment)[:4]:
        other = pickle.loads(pickle.dumps(thing))
        assert type(other) is type(thing)
        session = other.session("s") if isinstance(other, Store) else other
        if isinstance(session, Session):
            before = len(session.records())
            session.append([Record("human", {"content": "x"})])
            assert len(session.records()) == before + 1
            assert session.options.ttl == 60
        else:
            assert (session.ttl, session.key) == (60, thing.key)
            session.add_user_message("x")


def test_what_shares_connections_goes_on_sharing_them(upstash_environment: LocalUpstash) -> None:
    histories = [UpstashRedisChatMessageHistory(str(number)) for number in range(20)]
    before = upstash_environment.stats
    for history in pickle.loads(pickle.dumps(histories)):
        history.add_user_message("x")
    assert (upstash_environment.stats - before).connections <= 1


def test_without_an_environment_the_error_says_what_is_missing(
    upstash: LocalUpstash, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UPSTASH_REDIS_REST_URL", raising=False)
    monkeypatch.delenv("UPSTASH_REDIS_REST_TOKEN", raising=False)
    data = pickle.dumps(UpstashRedisChatMessageHistory("s", upstash.url, upstash.token))
    with pytest.raises(ValueError, match=r"Tokens are not pickled.*UPSTASH_REDIS_REST_TOKEN"):
        pickle.loads(data)


def test_a_token_is_not_sent_to_another_database(upstash: LocalUpstash, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pickle.dumps(UpstashRedisChatMessageHistory("s", upstash.url, upstash.token))
    monkeypatch.setenv("UPSTASH_REDIS_REST_URL", "https://other.example")
    monkeypatch.setenv("UPSTASH_REDIS_REST_TOKEN", "other-token")
    with pytest.raises(ValueError, match="names another") as caught:
        pickle.loads(data)
    assert "other-token" not in str(caught.value)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copies_in_one_process_need_no_environment(upstash: LocalUpstash, copied: Any) -> None:
    for thing in _everything(upstash)[:2]:
        other = copied(thing)
        other.add_user_message("x")
        assert len(thing.messages) == len(other.messages)


def test_a_process_of_its_own_takes_it_on(upstash_environment: LocalUpstash) -> None:
    history = UpstashRedisChatMessageHistory("s", ttl=60)
    history.add_user_message("x")
    code = "import pickle, sys; print(len(pickle.load(sys.stdin.buffer).messages))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(history),
        env={"PATH": "/usr/bin:/bin", **upstash_environment.environment},
        capture_output=True,
        check=False,
    )
    assert done.stdout == b"1\n", done.stderr
