"""The figures of `benchmarks.compare` that have an aim, as rows for the terminal and the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.spread import ratio, spread
from benchmarks.start_up import STARTED

OLD = "langchain-community"
_TIMES = "{:.2f}×"
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
    times = ratio(old, ours, "wall_ms")
    figure = f"{ours['requests']} against {old['requests']}, {times.shown('{:.0f}×')} faster"
    return Row("add 500 messages: requests, time", "1, at least 100× faster", figure,
               ours["requests"] == 1 and times.median >= 100)  # fmt: skip


def _at_once(found: Found) -> Row:
    runs = found["turns_at_once"][0]["runs"]
    times, ours = ratio(runs[OLD], runs["chatstash"], "wall_ms"), spread(runs["chatstash"]["wall_ms"])
    return Row("200 turns at once, asynchronous, at 20 ms of latency", "at least 25× faster, 150 ms at most",
               f"{times.shown('{:.0f}×')} faster, {ours.shown('{:.0f} ms')}",
               times.median >= 25 and ours.median <= 150)  # fmt: skip


def _connections(found: Found) -> Row:
    opened = found["connections"]
    return Row("connections opened by 200 histories used in turn", "1", f"{max(1, opened['chatstash'])} against "
               f"{opened[OLD]}", opened["chatstash"] <= 1)  # fmt: skip


def _read(found: Found) -> Row:
    ours, old = _of(found["read_own"], "chatstash"), _of(found["read_own"], OLD)
    cpu, size = ratio(ours, old), ours["bytes"] / old["bytes"]
    return Row("read 1,000 messages, each its own: CPU / bytes", "≤ 0.18× / ≤ 0.6×",
               f"{cpu.shown(_TIMES)} / {size:.2f}×", cpu.median <= 0.18 and size <= 0.6)  # fmt: skip


def _read_old(found: Found) -> Row:
    both = found["read_by_both"]
    cpu = ratio(both["chatstash"], both[OLD])
    return Row("read 1,000 messages that the old class wrote: CPU", "≤ 0.25×", cpu.shown(_TIMES), cpu.median <= 0.25)


def _next(found: Found) -> Row:
    turn = found["next_turn"]
    cached, size = ratio(turn["chatstash, cached"], turn[OLD]), turn["chatstash, cached"]["bytes"]
    return Row("the next turn's read of 1,000 messages, cached: CPU / bytes", "≤ 0.15× / ≤ 3 KB",
               f"{cached.shown(_TIMES)} / {size / 1000:.1f} KB",
               cached.median <= 0.15 and size <= 3000)  # fmt: skip


def _cached(found: Found) -> Row:
    turn = found["next_turn"]
    cpu = ratio(turn["chatstash, cached"], turn["chatstash"])
    return Row("the same, against chatstash without a cache: CPU", "≤ 1×", cpu.shown(_TIMES), cpu.median <= 1)


def _window(found: Found) -> Row:
    small, large = found["windows"][0], found["windows"][-1]
    cpu, size = ratio(large, small), large["bytes"] / small["bytes"]
    return Row(f"a window of 20 on {large['length']:,} messages, against {small['length']:,}: CPU / bytes",
               "1× / 1×", f"{cpu.shown(_TIMES)} / {size:.2f}×", cpu.median < 1.3 and size < 1.05)  # fmt: skip


def _append(found: Found) -> Row:
    cpu = ratio(found["append"]["chatstash"], found["append"]["json.dumps"])
    return Row("append 1,000 messages, against `json.dumps(message_to_dict(…))` of them alone: CPU", "≤ 0.8×",
               cpu.shown(_TIMES), cpu.median <= 0.8)  # fmt: skip


def _append_old(found: Found) -> Row:
    cpu = ratio(found["append"]["chatstash"], found["append"][OLD])
    return Row("append 1,000 messages: CPU", "≤ 0.35×", cpu.shown("{:.3f}×"), cpu.median <= 0.35)


def _memory(found: Found) -> Row:
    share = found["memory"]["chatstash"] / found["memory"][OLD]
    return Row("memory of 1,000 messages at the server", "≤ 0.75×", f"{share:.2f}×", share <= 0.75)


def _start_up(found: Found) -> Row:
    more = spread(found["start_up"][STARTED]["cpu_ms"])
    return Row(
        "start-up with one history, after LangChain's: CPU", "≤ 20 ms", more.shown("{:.0f} ms"), more.median <= 20
    )


_ROWS: tuple[Callable[[Found], Row], ...] = (
    _turn, _add, _at_once, _connections, _read, _read_old, _next, _cached, _window, _append, _append_old, _memory,
    _start_up,
)  # fmt: skip
