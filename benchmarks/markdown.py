"""Parts of the pages in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.table import Row


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *lines))


def aims(rows: Iterable[Row]) -> str:
    """Return the figures that have an aim."""
    return table(["work", "aim", "measured"], [
        [row.work, row.aim, row.figure if row.is_met else f"**{row.figure}**, missed"] for row in rows
    ])  # fmt: skip


def measured_on(found: Mapping[str, Any]) -> str:
    """Return when and on which machine results were measured."""
    machine = found["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    processor = f"{machine['cores']} cores of {machine['processor']}, {machine['system']}"
    load = f"load {machine['load']:.1f} at the start"
    return f"Measured on {machine['date']}: {processor}, {load}, Python {machine['python']}; {versions}."
