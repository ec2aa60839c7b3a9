"""The median of several runs, with its quartiles."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

Runs = Mapping[str, Sequence[float]]
"""What each run cost, by the name of the cost, such as `cpu_ms`."""


class Spread(NamedTuple):
    """The median, and the quartiles below and above it."""

    low: float
    median: float
    high: float

    def shown(self, form: str) -> str:
        """Return the median and, in brackets, the quartiles, in a format such as `{:.2f} ms`."""
        low, median, high = (form.format(value) for value in self)
        return median if low == high else f"{median} ({low} – {high})"


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of several values; of one value, that value three times."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    return Spread(*statistics.quantiles(values, n=4, method="inclusive"))


def ratio(ours: Runs, theirs: Runs, cost: str = "cpu_ms") -> Spread:
    """Return the spread of our cost divided by theirs, run by run: the runs took turns."""
    return spread([one / other for one, other in zip(ours[cost], theirs[cost], strict=True)])


def columns(runs: Sequence[tuple[float, float]]) -> Runs:
    """Return the runs of pairs of CPU and wall milliseconds."""
    cpu, wall = zip(*runs, strict=True)
    return {"cpu_ms": cpu, "wall_ms": wall}
