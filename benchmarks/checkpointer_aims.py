"""The figures of `benchmarks.checkpointers` that have an aim, as rows for the terminal and the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.spread import spread
from benchmarks.table import Row

OURS = "chatstash"
Found = Mapping[str, Any]
_TURNS = {
    "one node": (6, 15), "one node, with a ttl": (6, 25), "one node, durability exit": (2, 8),
    "ReAct agent": (10, 23), "ReAct agent, durability exit": (2, 8),
}  # fmt: skip


def rows(found: Found) -> list[Row]:
    """Return all figures that have an aim; a figure that could not be measured has missed it."""
    return [row for make in _ROWS for row in _tried(make, found)]


def _tried(make: Callable[[Found], Iterator[Row]], found: Found) -> Iterator[Row]:
    try:
        yield from make(found)
    except (KeyError, TypeError) as error:
        yield Row(make.__name__.strip("_"), "a figure", f"none: {error!r}", is_met=False)


def most(costs: Sequence[Mapping[str, int]], cost: str) -> int:
    """Return the highest of the costs of several runs."""
    return max(each[cost] for each in costs)


def _turns(found: Found) -> Iterator[Row]:
    for name, (requests, commands) in _TURNS.items():
        costs = found["turns"][OURS][name]
        counted = most(costs, "requests"), most(costs, "commands")
        yield Row(f"turn, {name}: requests / billed commands", f"≤ {requests} / ≤ {commands}",
                  f"{counted[0]} / {counted[1]}", counted[0] <= requests and counted[1] <= commands)  # fmt: skip


def _by_length(found: Found) -> Iterator[Row]:
    for each in found["by_length"][OURS]:
        size = most(each["costs"], "uploaded") / 1000
        yield Row(f"upload of a turn after {each['length']:,} messages", "≤ 6.5 KB", f"{size:.1f} KB", size <= 6.5)


def _long(found: Found) -> Iterator[Row]:
    sizes = found["long"][OURS]
    size = max(sizes[1:]) / 1000
    yield Row(f"upload of each of {len(sizes):,} turns of one conversation", "≤ 6.5 KB", f"{size:.1f} KB", size <= 6.5)


def _cold(found: Found) -> Iterator[Row]:
    life = found["life"][OURS]
    for name, work in {"cold": "in one process", "processes": "in new processes"}.items():
        size = max(life[name]) / 1000
        yield Row(f"upload of each of {len(life[name])} cold turns, {work}", "≤ 7.5 KB", f"{size:.1f} KB", size <= 7.5)


def _stored(found: Found) -> Iterator[Row]:
    life = found["life"][OURS]
    size, share = life["stored"] / 1e6, life["after_prune"] / life["before_prune"]
    yield Row(f"memory after {len(life['cold'])} turns", "≤ 2 MB", f"{size:.2f} MB", size <= 2)
    yield Row("memory after prune, of that before", "≤ 45 %", f"{share:.0%}", share <= 0.45)


def _deep(found: Found) -> Iterator[Row]:
    sizes = [cost["uploaded"] for cost in found["deep"][OURS]]
    share = sizes[-1] / sizes[1]
    yield Row(f"upload of a deep agent's turn {len(sizes)}, against turn 2", "≤ 1.2×", f"{share:.2f}×", share <= 1.2)


def _listed(found: Found) -> Iterator[Row]:
    listed = found["life"][OURS]["listed"]
    size = (listed["uploaded"] + listed["downloaded"]) / 1e6
    seconds = spread(listed["seconds"])
    yield Row(f"{listed['checkpoints']} checkpoints listed: requests, size, time", "≤ 14, ≤ 3 MB, ≤ 5 s",
              f"{listed['requests']}, {size:.1f} MB, {seconds.shown('{:.1f} s')}",
              listed["requests"] <= 14 and size <= 3 and seconds.median <= 5)  # fmt: skip


def _large(found: Found) -> Iterator[Row]:
    cost = found["large"][OURS]
    works = not isinstance(cost, str)
    figure = f"stored, {cost['requests']} requests" if works else cost
    yield Row("15 MB in one `update_state`, pay-as-you-go", "stored", figure, works)


_ROWS: tuple[Callable[[Found], Iterator[Row]], ...] = (
    _turns, _by_length, _long, _cold, _stored, _deep, _listed, _large,
)  # fmt: skip
