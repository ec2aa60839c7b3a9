"""For how long a lost write counts as possible: by a clock that nobody sets, and never too short."""

from __future__ import annotations

import copy
import pickle
import time

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
