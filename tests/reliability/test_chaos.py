"""Random faults of every kind: nothing lost, doubled, torn or shown wrongly. The harness is `chaos`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chatstash import OutcomeUnknown
from chatstash.history.steps import duplicates
from chatstash.local import LocalUpstash
from tests.reliability.chaos import odds
from tests.reliability.chaos.judge import Judge
from tests.reliability.chaos.ledger import Ledger, Sight
from tests.reliability.chaos.peer import run_peer
from tests.reliability.chaos.plan import BOUND, BOUNDED, OWN, SESSIONS, Append, Name
from tests.reliability.chaos.report import Report
from tests.reliability.chaos.run import Run, run_chaos
from tests.reliability.chaos.setting import Setting

MODES = ["standard", "strict"]


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Callable[[Report], None]:
    def shown(report: Report) -> None:
        with capsys.disabled():
            print(f"\n{report}")

    return shown


def _check(report: Report, appends: int) -> None:
    assert report.flaws == []
    assert report.appends == appends
    assert report.figures["duplicates left in storage"] == 0
    if "strict" in report.name:
        assert report.figures["duplicates removed by readers"] == 0
        assert report.figures["duplicates quarantined by the doctor"] == 0


@pytest.mark.parametrize("delivery", MODES)
def test_a_little_chaos(upstash: LocalUpstash, delivery: Any) -> None:
    upstash.faults.seed(1)
    report = Run(upstash, 1, 200, Setting(delivery)).run()
    print(report)
    _check(report, 200)
    assert report.outcomes["tried again"] > 5
    assert sum(report.figures.get(what, 0) for what in ("damaged", "edits", "released at the end")) > 0


@pytest.mark.parametrize("delivery", MODES)
def test_requests_that_a_proxy_repeats(upstash: LocalUpstash, delivery: Any) -> None:
    upstash.faults.seed(2)
    report = Run(upstash, 2, 160, Setting(delivery, are_clocks_wrong=False, replayed=odds.REPLAYED)).run()
    print(report)
    _check(report, 160)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("delivery", MODES)
def test_ten_thousand_appends(show: Callable[[Report], None], delivery: Any) -> None:
    report = run_chaos(7, 10_000, Setting(delivery))
    show(report)
    _check(report, 10_000)
    assert {name.split(",")[0] for name in report.table} == {fault.kind for fault in Setting().faults}
    assert report.outcomes["tried again"] > 300
    assert report.outcomes["unknown"] < 200
    if delivery == "standard":
        assert report.figures["duplicates removed by readers"] > 0


@pytest.mark.long
@pytest.mark.timeout(600)
def test_requests_applied_up_to_90_seconds_late(show: Callable[[Report], None]) -> None:
    report = run_chaos(5, 2_000, Setting("strict", late=90))
    show(report)
    _check(report, 2_000)


def test_the_harness_sees_what_goes_wrong_elsewhere() -> None:
    report = run_peer(seed=1, appends=48, retry_interval=0.0, times=4)
    print(report)
    assert report.doubled


def _judged(final: dict[str, list[Name]], *sights: Sight, acknowledged: dict[str, list[Append]]) -> Report:
    appends = [append for some in acknowledged.values() for append in some]
    ledger, report = Ledger(), Report(1, "judge")
    ledger.plan(appends)
    for append in appends:
        ledger.begun[append.identity] = 0.0
        ledger.acknowledge(append)
    ledger.sights.extend(sights)
    Judge(ledger, report, appends, {session: final.get(session, []) for session in SESSIONS}, {}).judge()
    return report


def _append(session: str, number: int, size: int = 2) -> Append:
    texts = tuple(f"<0/{number}/{position}>" for position in range(size))
    return Append(0, number, session, texts, None, None, impatient=False)


CLEAN = OWN[-1]
ONE, TWO = _append(CLEAN, 0), _append(CLEAN, 1)
NAMES = [*ONE.names, *TWO.names]


@pytest.mark.parametrize(
    ("stored", "flaw"),
    [
        (NAMES, None),
        (NAMES[:2], "lost"),
        ([*NAMES, NAMES[0], NAMES[1]], "doubled"),
        ([*NAMES[2:], *NAMES[:2]], "disordered"),
        ([NAMES[0], *NAMES[2:], NAMES[1]], "torn"),
    ],
)
def test_the_judge_sees_what_is_wrong_in_storage(stored: list[Name], flaw: str | None) -> None:
    report = _judged({CLEAN: stored}, acknowledged={CLEAN: [ONE, TWO]})
    assert bool(report.flaws) == (flaw is not None)
    if flaw:
        assert getattr(report, flaw)


@pytest.mark.parametrize(
    ("seen", "wanted", "known", "is_right"),
    [
        ([0, 1, 2, 3], None, 4, True),
        ([2, 3], 2, 4, True),
        ([1, 2], 2, 3, True),
        ([1, 2], 2, 4, False),
        ([2, 3], 3, 4, False),
        ([1, 3], 2, 4, False),
        ([3, 1], 2, 0, False),
        ([3, 3], 2, 4, False),
        ([], 2, 1, False),
        ([1, 2, 3], None, 4, False),
    ],
)
def test_the_judge_sees_what_was_shown_wrongly(seen: list[int], wanted: int | None, known: int, is_right: bool) -> None:
    sight = Sight("window", CLEAN, wanted, seen, known)
    assert bool(_judged({CLEAN: NAMES}, sight, acknowledged={CLEAN: [ONE, TWO]}).shown) != is_right


@pytest.mark.parametrize(("total", "is_right"), [(4, True), (3, False), (5, False)])
def test_the_judge_sees_a_wrong_count(total: int, is_right: bool) -> None:
    sight = Sight("count", CLEAN, None, [], 4, total)
    assert bool(_judged({CLEAN: NAMES}, sight, acknowledged={CLEAN: [ONE, TWO]}).shown) != is_right


BOUNDED_APPENDS = [_append(BOUNDED, number) for number in range(BOUND // 2 + 1)]
KEPT = [name for append in BOUNDED_APPENDS for name in append.names][2:]


@pytest.mark.parametrize(
    ("kept", "flaw"), [(KEPT, None), (KEPT[1:], "lost"), ([BOUNDED_APPENDS[0].names[0], *KEPT[1:]], "torn")]
)
def test_the_judge_knows_bounded_storage(kept: list[Name], flaw: str | None) -> None:
    report = _judged({BOUNDED: kept}, acknowledged={BOUNDED: BOUNDED_APPENDS})
    assert bool(report.flaws) == (flaw is not None)
    if flaw:
        assert getattr(report, flaw)


@pytest.mark.long
def test_chaos_is_enough_to_show_a_reader_that_looks_for_no_duplicates(
    upstash: LocalUpstash, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "suspects", lambda *_: [])
    # How the threads interleave is the machine's affair: one run may meet no duplicate.
    assert any(_reader_shows_flaws(upstash, seed) for seed in range(10))


def _reader_shows_flaws(upstash: LocalUpstash, seed: int) -> bool:
    upstash.reset()
    upstash.faults.seed(seed)
    return bool(Run(upstash, seed, 160, Setting("standard")).run().shown)


def test_an_append_settled_as_not_stored_must_stay_away() -> None:
    report = _judged({CLEAN: NAMES}, acknowledged={CLEAN: [ONE, TWO]})
    assert report.flaws == []
    ledger, report = Ledger(), Report(1, "judge")
    ledger.plan([ONE])
    ledger.unknown[ONE.identity] = OutcomeUnknown("lost")
    Judge(ledger, report, [ONE], {session: ONE.names if session == CLEAN else [] for session in SESSIONS}, {}).judge()
    assert report.wrong
