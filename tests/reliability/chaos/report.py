"""What became of everything."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.reliability.chaos.plan import WRITERS

_FLAWS = ("lost", "doubled", "disordered", "torn", "shown", "wrong")


@dataclass
class Report:
    """The flaws that were found, and the figures of a run."""

    seed: int
    name: str
    appends: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    table: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    disordered: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    reads: Counter[str] = field(default_factory=Counter)
    figures: dict[str, int] = field(default_factory=dict)
    repeats: int = 0
    seconds: float = 0.0
    note: str = ""

    @property
    def flaws(self) -> list[str]:
        """Everything that should not be."""
        return [flaw for name in _FLAWS for flaw in getattr(self, name)]

    def __str__(self) -> str:
        work = f"{self.appends} appends by {WRITERS} writers, {self.repeats} repeated by another writer"
        lines = [
            f"{self.name}: seed {self.seed}, {work}, {self.seconds:.1f} s{self.note}",
            "flaws: " + ", ".join(f"{name} {len(getattr(self, name))}" for name in _FLAWS),
            "appends: " + _listed(self.outcomes),
            "reads meanwhile: " + _listed(self.reads),
            "figures: " + _listed(self.figures),
            *_table(self.table),
        ]
        for name in _FLAWS:
            lines += [f"  {name}: {example}" for example in getattr(self, name)[:5]]
        return "\n".join(lines)


def compared(reports: Sequence[Report]) -> str:
    """Return the figures of several runs side by side."""
    rows: dict[str, list[object]] = {"": [report.name for report in reports]}
    rows |= {name: [len(getattr(report, name)) for report in reports] for name in _FLAWS}
    rows |= {name: [report.figures.get(name, 0) for report in reports] for name in reports[0].figures}
    width = max(len(report.name) for report in reports)
    lines = (name.ljust(45) + "  ".join(f"{cell:>{width}}" for cell in cells) for name, cells in rows.items())
    return "\n".join(lines)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def _table(table: dict[str, Counter[str]]) -> Iterator[str]:
    columns = sorted({outcome for row in table.values() for outcome in row})
    yield "  ".join(["fault that hit".ljust(22), *(column.rjust(max(8, len(column))) for column in columns)])
    for name in sorted(table):
        cells = (str(table[name][column]).rjust(max(8, len(column))) for column in columns)
        yield "  ".join([name.ljust(22), *cells])
