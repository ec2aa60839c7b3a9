"""Random faults of every kind: nothing lost, nothing doubled, each writer's order kept. The harness is `chaos`."""

from __future__ import annotations

import pytest

from chatstash.local import LocalUpstash
from tests.reliability.chaos import FAULTS, SHARED, Report, Run, run_chaos, run_peer


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> object:
    def shown(report: Report) -> None:
        with capsys.disabled():
            print(f"\n{report}")

    return shown


def test_a_little_chaos(upstash: LocalUpstash) -> None:
    upstash.faults.seed(1)
    report = Run(upstash, seed=1, appends=600).run()
    print(report)
    assert report.flaws == []
    assert report.appends == 600
    assert report.copies_left == 0
    assert report.reads > 0
    assert report.outcomes["settled"] > 10
    assert report.outcomes["sent again"] > 5


@pytest.mark.long
@pytest.mark.timeout(600)
def test_ten_thousand_appends(show: object) -> None:
    report = run_chaos(seed=7, appends=10_000)
    show(report)  # type: ignore[operator]
    assert report.flaws == []
    assert report.appends == 10_000
    assert report.copies_left == 0
    assert report.copies_met > 0
    assert len(report.table) == len(FAULTS)
    assert report.outcomes["settled"] > 300
    assert report.outcomes["unknown"] < 100


def test_the_harness_sees_what_goes_wrong_elsewhere() -> None:
    report = run_peer(seed=1, appends=48, retry_interval=0.0, times=4)
    print(report)
    assert report.doubled


def test_the_judge_sees_every_kind_of_flaw(upstash: LocalUpstash) -> None:
    run = Run(upstash, seed=3, appends=48)
    for plan in run.plans:
        for append in plan:
            run.acknowledged[append.session].update(append.texts)
            if append.identity in ((0, 0), (1, 0)):
                continue
            run.history(append).add_messages(append.messages)
    alone = run.plans[0][0]
    other = run.plans[1][1]
    whole = next(append for append in run.plans[2] if len(append.texts) > 1)
    run.history(other).add_messages(other.messages)
    first, *rest = run.plans[1][0].messages
    late = run.plans[1][0]
    run.history(late).add_messages([*rest[::-1], first])
    run._judge()
    report = run.report
    assert str(alone.identity) in report.lost[0]
    assert str(other.identity) in report.doubled[0]
    assert report.disordered or report.torn
    assert whole.session in (SHARED, whole.session)
