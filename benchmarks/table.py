"""The figures of `benchmarks.compare` that have an aim, as rows for the terminal and the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

OLD = "langchain-community"
Found = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        work: The work measured.
        aim: The aim.
        figure: The measured figure.
        is_met: Whether the aim is met.
    """

    work: str
    aim: str
    figure: str
    is_met: bool


def rows(found: Found) -> list[Row]:
    """Return all figures that have an aim."""
    return [make(found) for make in _ROWS]


def _of(rows: list[dict[str, Any]], library: str) -> dict[str, Any]:
    return next(row for row in rows if row["library"] == library)


def _turn(found: Found) -> Row:
    ours, old = _of(found["turn"], "chatstash"), _of(found["turn"], OLD)
    figure = f"{ours['requests']} / {ours['billed_commands']} against {old['requests']} / {old['billed_commands']}"
    return Row("requests / billed commands of a turn with a ttl", "2 / 3 against 5 / 5", figure,
               (ours["requests"], ours["billed_commands"]) == (2, 3))  # fmt: skip


def _add(found: Found) -> Row:
    ours, old = _of(found["add_many"], "chatstash"), _of(found["add_many"], OLD)
    times = old["wall_ms"] / ours["wall_ms"]
    figure = f"{ours['requests']} against {old['requests']}, {times:.0f}× faster"
    return Row(
        "add 500 messages: requests, time", "1, at least 50× faster", figure, ours["requests"] == 1 and times >= 50
    )


def _at_once(found: Found) -> Row:
    seconds = found["concurrent_turns"]["seconds"]
    ours, times = seconds["chatstash"], seconds[OLD] / seconds["chatstash"]
    return Row("200 turns at once, asynchronous, at 20 ms of latency", "at least 20× faster, under 0.2 s",
               f"{times:.0f}× faster, {ours:.2f} s", times >= 20 and ours < 0.2)  # fmt: skip


def _connections(found: Found) -> Row:
    opened = found["connections"]
    return Row("connections opened by 200 histories used in turn", "1", f"{max(1, opened['chatstash'])} against "
               f"{opened[OLD]}", opened["chatstash"] <= 1)  # fmt: skip


def _read(found: Found) -> Row:
    ours, old = _of(found["read_own"], "chatstash"), _of(found["read_own"], OLD)
    cpu, size = ours["cpu_ms"] / old["cpu_ms"], ours["bytes"] / old["bytes"]
    return Row("read 1,000 messages, each its own: CPU / bytes", "≤ 0.25× / ≤ 0.6×", f"{cpu:.2f}× / {size:.2f}×",
               cpu <= 0.25 and size <= 0.6)  # fmt: skip


def _read_old(found: Found) -> Row:
    both = found["read_by_both"]
    cpu = both["chatstash"]["cpu_ms"] / both[OLD]["cpu_ms"]
    return Row("read 1,000 messages that the old class wrote: CPU", "≤ 0.5×", f"{cpu:.2f}×", cpu <= 0.5)


def _next(found: Found) -> Row:
    turn = found["next_turn"]
    cached = turn["chatstash, cached"]
    cpu = cached["cpu_ms"] / turn[OLD]["cpu_ms"]
    return Row("the next turn's read of 1,000 messages, cached: CPU / bytes", "≤ 0.2× / ≤ 3 KB",
               f"{cpu:.2f}× / {cached['bytes'] / 1000:.1f} KB", cpu <= 0.2 and cached["bytes"] <= 3000)  # fmt: skip


def _window(found: Found) -> Row:
    small, large = found["windows"][0], found["windows"][-1]
    cpu, size = large["cpu_ms"] / small["cpu_ms"], large["bytes"] / small["bytes"]
    return Row(f"a window of 20 on {large['length']:,} messages, against {small['length']:,}: CPU / bytes",
               "1× / 1×", f"{cpu:.2f}× / {size:.2f}×", cpu < 1.3 and size < 1.05)  # fmt: skip


def _append(found: Found) -> Row:
    cpu = found["append"]["chatstash"]["cpu_ms"] / found["append"][OLD]["cpu_ms"]
    return Row("append 1,000 messages: CPU", "≤ 0.35×", f"{cpu:.3f}×", cpu <= 0.35)


def _memory(found: Found) -> Row:
    share = found["memory"]["chatstash"] / found["memory"][OLD]
    return Row("memory of 1,000 messages at the server", "≤ 0.75×", f"{share:.2f}×", share <= 0.75)


def _start_up(found: Found) -> Row:
    more = found["start_up"]["more_cpu_ms"]
    return Row("start-up with one history, after LangChain's: CPU", "≤ 20 ms", f"{more:.0f} ms", more <= 20)


_ROWS: tuple[Callable[[Found], Row], ...] = (
    _turn, _add, _at_once, _connections, _read, _read_old, _next, _window, _append, _memory, _start_up,
)  # fmt: skip
