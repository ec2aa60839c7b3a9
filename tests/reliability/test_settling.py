"""For how long a lost write counts as possible: by a clock that nobody sets, and never too short."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import time
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from chatstash import Outcome, OutcomeUnknown, UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash
from tests.conftest import Call


@pytest.fixture
def history(upstash: LocalUpstash) -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory("s", upstash.url, upstash.token, retries=0)


@pytest.fixture
def lost(upstash: LocalUpstash, history: UpstashRedisChatMessageHistory) -> OutcomeUnknown:
    upstash.faults.add("request_lost")
    with pytest.raises(OutcomeUnknown) as caught:
        history.add_messages([HumanMessage("x")])
    upstash.faults.clear()
    return caught.value


@pytest.mark.parametrize("hours", [-24, 24])
def test_a_wall_clock_that_is_set_decides_nothing(
    history: UpstashRedisChatMessageHistory,
    lost: OutcomeUnknown,
    either: Call,
    monkeypatch: pytest.MonkeyPatch,
    hours: int,
) -> None:
    now, now_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: now() + hours * 3600)
    monkeypatch.setattr(time, "time_ns", lambda: now_ns() + hours * 3600 * 10**9)
    assert either(history, "check_outcome", lost) is Outcome.STILL_POSSIBLE


@pytest.mark.parametrize("made", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_a_copy_is_as_young_as_it_came(
    history: UpstashRedisChatMessageHistory,
    lost: OutcomeUnknown,
    either: Call,
    monkeypatch: pytest.MonkeyPatch,
    made: Call,
) -> None:
    # As on another machine, whose clock began at another time.
    monotonic = time.monotonic
    for later in (-10_000, 10_000):
        with monkeypatch.context() as patched:
            patched.setattr(time, "monotonic", lambda later=later: monotonic() + later)
            copied = made(lost)
            assert (copied.record_ids, copied.key, str(copied)) == (lost.record_ids, lost.key, str(lost))
            assert 0 <= copied.age < 60
            assert either(history, "check_outcome", copied) is Outcome.STILL_POSSIBLE


_ELSEWHERE = """
import pickle, sys
from chatstash import UpstashRedisChatMessageHistory
error = pickle.load(sys.stdin.buffer)
history = UpstashRedisChatMessageHistory("s", **error_options)
print(history.check_outcome(error).name, history.check_outcome(error, in_flight_seconds=0).name)
"""


@pytest.mark.parametrize(
    ("options", "stored", "expected"),
    [
        ({}, False, "STILL_POSSIBLE NOT_STORED"),
        ({}, True, "STORED STORED"),
        ({"delivery": "strict"}, False, "NOT_STORED NOT_STORED"),
        ({"delivery": "strict"}, True, "STORED STORED"),
        ({"max_stored_messages": 3}, False, "NOT_STORED NOT_STORED"),
    ],
)
def test_another_process_can_ask(upstash: LocalUpstash, options: dict[str, Any], stored: bool, expected: str) -> None:
    history = UpstashRedisChatMessageHistory("s", upstash.url, upstash.token, retries=0, **options)
    upstash.faults.next("reply_lost" if stored else "request_lost")
    with pytest.raises(OutcomeUnknown) as caught:
        history.add_messages([HumanMessage("x")])
    pickled = pickle.dumps(caught.value)
    assert upstash.token.encode() not in pickled
    variables = {"UPSTASH_REDIS_REST_URL": upstash.url, "UPSTASH_REDIS_REST_TOKEN": upstash.token}
    script = _ELSEWHERE.replace("error_options", repr(options))
    done = subprocess.run(
        [sys.executable, "-c", script], input=pickled, capture_output=True, env={**os.environ, **variables}, check=True
    )
    assert done.stdout.decode().strip() == expected
