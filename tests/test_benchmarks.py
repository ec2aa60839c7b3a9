"""The pages say what the committed results say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks import checkpointer_aims, checkpointer_page
from benchmarks.growth import exponent
from benchmarks.page import PAGES, RESULTS, filled
from benchmarks.scale import Assumptions, Costs, by_chance, by_formula
from benchmarks.spread import ratio, spread

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_the_figures_of_the_results(name: str) -> None:
    text = (DOCS / name).read_text()
    assert filled(name, text) == text


@pytest.mark.parametrize("name", PAGES)
def test_a_page_without_its_marker_is_noticed(name: str) -> None:
    marker = next(iter(PAGES[name]))
    with pytest.raises(ValueError, match=f"figures:{marker}"):
        filled(name, (DOCS / name).read_text().replace(f"<!-- figures:{marker} -->", ""))


@pytest.mark.parametrize("result", [path.stem for path in RESULTS.glob("*.json")])
def test_results_name_the_machine(result: str) -> None:
    assert {"python", "cores"} <= set(json.loads((RESULTS / f"{result}.json").read_text())["machine"])


def _costs(**changes: Any) -> Costs:
    return Costs(**{"requests": 2, "commands": 3, "writes": 2, "fixed_bytes": 700, "read_bytes": 275,
                    "stored_bytes": 277, **changes})  # fmt: skip


@pytest.mark.parametrize("changes", [{}, {"most_read": 20}, {"missed_share": 0.5}])
def test_formula_and_simulation_agree_within_the_error(changes: dict[str, Any]) -> None:
    assumptions = Assumptions(users=10_000)
    day = by_formula(assumptions, _costs(**changes))
    simulated = by_chance(assumptions, _costs(**changes), seed=1, sampled=10_000)
    assert abs(simulated.day.moved_bytes / day.moved_bytes - 1) < 4 * simulated.error < 0.5
    assert simulated.day.turns == pytest.approx(day.turns, rel=0.05)


def test_the_formula_in_a_case_that_can_be_worked_out_by_hand() -> None:
    """Conversations of three turns each: they read 0, 2 and 4 messages."""
    assumptions = Assumptions(users=10, mean_turns=3, spread=0.001)
    day = by_formula(assumptions, _costs())
    assert day.turns == pytest.approx(30)
    assert day.moved_bytes == pytest.approx(10 * (3 * 700 + 6 * 275))
    month = day.month(_costs(), assumptions, read_regions=2)
    assert (month.requests, month.commands) == (1800, 30 * 30 * (3 + 2 * 2))
    assert month.stored_gb == pytest.approx(30 * 2 * 30 * 277 / 1e9)


def test_the_share_of_each_number_of_turns() -> None:
    shares = Assumptions(mean_turns=8, spread=0.5).turn_shares()
    assert sum(shares) == pytest.approx(1)
    assert sum(turns * share for turns, share in enumerate(shares, 1)) == pytest.approx(8, rel=0.02)


def test_exponents() -> None:
    sizes = [10, 100, 1000, 10_000]
    for power in (0, 0.5, 1, 2):
        slope, error = exponent(sizes, [3 * size**power for size in sizes])
        assert (slope, error) == (pytest.approx(power), pytest.approx(0, abs=1e-6))


def test_the_spread_of_runs() -> None:
    assert spread([5, 1, 4, 2, 3]) == (2, 3, 4)
    assert spread([7]) == (7, 7, 7)
    assert spread([1, 2, 3, 4, 5]).shown("{:.1f} ms") == "3.0 ms (2.0 ms – 4.0 ms)"  # noqa: RUF001
    assert spread([7]).shown("{:.0f}") == "7"


def test_a_ratio_pairs_runs_of_the_same_round() -> None:
    """A machine that becomes slower within the runs changes both alike."""
    slower = {"cpu_ms": [1, 10, 100]}
    assert ratio({"cpu_ms": [2, 20, 200]}, slower) == (2, 2, 2)


def _checkpointers() -> Any:
    return json.loads((RESULTS / "checkpointers.json").read_text())


def test_a_figure_that_could_not_be_measured_has_missed_its_aim() -> None:
    found = _checkpointers()
    found["deep"]["chatstash"] = found["large"]["chatstash"] = "RuntimeError: no"
    missed = {row.work: row.figure for row in checkpointer_aims.rows(found) if "no" in row.figure and not row.is_met}
    assert set(missed) == {"deep", "15 MB in one `update_state`, pay-as-you-go"}


def test_what_a_saver_cannot_do_is_shown() -> None:
    found = _checkpointers()
    name = next(name for name in found["turns"] if name != "chatstash")
    found["deep"][name] = "RuntimeError: no"
    (line,) = (line for line in checkpointer_page.savers(found).splitlines() if "a deep agent's turn" in line)
    assert line.count("cannot") == 1
