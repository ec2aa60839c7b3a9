"""`chatstash cost`: its turns are what the server bills, and its sums are right."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from chatstash import UpstashRedisChatMessageHistory
from chatstash.cli.estimate import Month, Turn, Usage, month_of, old_month_of, old_turn_of, turn_of
from chatstash.cli.prices import AS_OF
from chatstash.local import LocalUpstash

TURN = [HumanMessage("question"), AIMessage("answer")]


def _usage(**changes: Any) -> Usage:
    return Usage(**{"daily_users": 100, "turns": 5, "messages": 2, "message_bytes": 1000, "ttl_days": 10.0} | changes)


def _spent(upstash: LocalUpstash, run: Any) -> tuple[int, int]:
    before = upstash.stats
    run()
    spent = upstash.stats - before
    return spent.requests, spent.billed_commands


@pytest.fixture(scope="module", params=[1, 3])
def regional(request: pytest.FixtureRequest) -> Any:
    with LocalUpstash(read_regions=request.param - 1) as upstash:
        yield upstash, request.param


@pytest.mark.parametrize("ttl", [None, 60])
@pytest.mark.parametrize("kind", ["plain", "refresh", "idempotency", "guarded"])
def test_a_turn_takes_what_the_server_bills(regional: Any, ttl: int | None, kind: str) -> None:
    upstash, regions = regional
    history = UpstashRedisChatMessageHistory(
        f"{kind}-{ttl}", upstash.url, upstash.token, ttl=ttl, refresh_ttl_on_read=kind == "refresh"
    )
    history.add_messages(TURN)

    def turn() -> None:
        if kind == "guarded":
            with history.guarded_turn() as guarded:
                guarded.add_messages(TURN)
            return
        assert history.messages
        history.add_messages(TURN, idempotency_key="evt" if kind == "idempotency" else None)

    options = {} if kind == "plain" else {kind: True}
    wanted = turn_of(_usage(ttl_days=None if ttl is None else 1.0, **options))
    assert _spent(upstash, turn) == (wanted.requests, wanted.billed(regions))


@pytest.mark.parametrize("ttl", [None, 60])
def test_a_turn_of_the_old_class_takes_what_the_server_bills(regional: Any, ttl: int | None) -> None:
    upstash, regions = regional
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from langchain_community.chat_message_histories import UpstashRedisChatMessageHistory as Old

        old = Old(session_id=f"old-{ttl}", url=upstash.url, token=upstash.token, ttl=ttl)

    def turn() -> None:
        _ = old.messages
        old.add_messages(TURN)

    wanted = old_turn_of(_usage(ttl_days=None if ttl is None else 1.0))
    spent = _spent(upstash, turn)
    old.redis_client.close()
    assert spent == (wanted.requests, wanted.billed(regions))


def test_a_month() -> None:
    month = month_of(_usage())
    assert (month.requests, month.commands) == (30_000, 45_000)
    # Each of 15,000 turns adds 2000 bytes, and reads 0, 2000, … 8000: 4000 on average.
    assert month.moved_gb == pytest.approx(15_000 * 6000 / 1e9)
    # 500 turns a day, for ten days.
    assert month.stored_gb == pytest.approx(500 * 2000 * 10 / 1e9)
    assert month.is_free


def test_a_month_without_a_ttl_keeps_all() -> None:
    assert month_of(_usage(ttl_days=None)).stored_gb == pytest.approx(15_000 * 2000 / 1e9)


def test_the_old_class_is_asked_once_a_command_and_answers_longer() -> None:
    month = old_month_of(_usage())
    assert (month.requests, month.commands) == (75_000, 75_000)
    assert month.moved_gb == pytest.approx(15_000 * (2000 + 4000 * 4 / 3) / 1e9)


def test_the_bill() -> None:
    assert Month(0, 1_000_000, 300, 5).bill == pytest.approx(
        {"commands": 2.0, "storage": 1.0, "bandwidth": 3.0, "total": 6.0}
    )
    assert Month(0, 0, 200, 1).bill["total"] == 0


@pytest.mark.parametrize(
    ("month", "free"),
    [
        (Month(0, 500_000, 10, 0.256), True),
        (Month(0, 500_001, 10, 0.256), False),
        (Month(0, 500_000, 10.1, 0.256), False),
        (Month(0, 500_000, 10, 0.257), False),
    ],
)
def test_the_free_plan_ends_where_it_says(month: Month, free: bool) -> None:
    assert month.is_free is free


def test_a_write_is_billed_in_each_region() -> None:
    assert [Turn(2, 3, 2).billed(regions) for regions in (1, 2, 4)] == [3, 5, 9]


def _cost(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "chatstash", "cost", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_prints_both_bills_and_the_date_of_the_prices() -> None:
    done = _cost("--daily-users", "10000", "--turns-per-user", "20")
    assert (done.returncode, done.stderr) == (0, "")
    rows = {line[:22].strip(): line[22:].split() for line in done.stdout.splitlines() if "$" in line}
    assert rows["cost of commands"] == ["$36.00", "$60.00"]
    assert "6,000,000 turns a month" in done.stdout
    assert f"as of {AS_OF.isoformat()}" in done.stdout
    assert "Not verified" in done.stdout


def test_json_has_the_same_figures() -> None:
    options = (
        "--daily-users", "10", "--turns-per-user", "3", "--messages-per-turn", "2", "--message-bytes", "500",
        "--ttl-days", "7", "--regions", "3", "--idempotency", "--refresh-ttl-on-read", "--json",
    )  # fmt: skip
    document = json.loads(_cost(*options).stdout)
    assert document["chatstash"]["requests"] == 10 * 3 * 30 * 2
    # Read and expiry, script, marker, push and expiry; of these four write, in two more regions.
    assert document["chatstash"]["commands"] == 10 * 3 * 30 * (6 + 4 * 2)
    assert document["langchain_community"]["commands"] == 10 * 3 * 30 * (5 + 4 * 2)
    assert document["chatstash"]["within_free_plan"] is True
    assert document["prices_as_of"] == AS_OF.isoformat()


def test_without_a_ttl_it_says_that_storage_grows() -> None:
    done = _cost("--no-ttl")
    assert "storage grows by this much each month" in done.stdout
    assert "grows" not in _cost().stdout


@pytest.mark.parametrize("options", [["--idempotency", "--guarded"], ["--regions", "0"], ["--daily-users", "-1"]])
def test_what_cannot_be_is_a_usage_error(options: list[str]) -> None:
    done = _cost(*options)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
