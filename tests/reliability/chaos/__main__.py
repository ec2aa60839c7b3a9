"""Runs chaos from the command line; ends with 1 if anything was wrong."""

from __future__ import annotations

import argparse

from tests.reliability.chaos.peer import run_peer
from tests.reliability.chaos.report import compared
from tests.reliability.chaos.run import run_chaos
from tests.reliability.chaos.setting import Setting


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.reliability.chaos",
        description="Count what is lost, doubled, torn and shown wrongly under faults of every kind.",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--appends", type=int, default=10_000)
    parser.add_argument("--delivery", choices=["standard", "strict"], help="one kind of delivery; both if left out")
    parser.add_argument(
        "--late", type=float, default=0.0, help="also requests that are applied up to LATE seconds late"
    )
    parser.add_argument(
        "--peer", action="store_true", help="also langchain-community's class, with 400 appends at most"
    )
    options = parser.parse_args()
    reports = []
    for delivery in [options.delivery] if options.delivery else ["standard", "strict"]:
        reports.append(run_chaos(options.seed, options.appends, Setting(delivery, late=options.late)))
        print(reports[-1], end="\n\n")
    if len(reports) > 1:
        print(compared(reports))
    if options.peer:
        print(run_peer(options.seed, min(options.appends, 400)))
    raise SystemExit(any(report.flaws for report in reports))


if __name__ == "__main__":
    main()
