"""The figures of `benchmarks.checkpointers` of all libraries, as tables in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.checkpointer_aims import OURS, most
from benchmarks.markdown import table
from benchmarks.spread import ratio, spread

Found = Mapping[str, Any]
_NONE = "–"


def savers(found: Found) -> str:
    """Return the costs, with a column for each library."""
    names = list(found["turns"])
    lines = [[work, *(_shown(show, found, name) for name in names)] for work, show in _costs(found).items()]
    return table(["", *names], lines)


def _shown(show: Callable[[Found, str], str], found: Found, name: str) -> str:
    try:
        return show(found, name)
    except (TypeError, KeyError):  # an error is kept in place of the figure
        return "cannot"


def _costs(found: Found) -> dict[str, Callable[[Found, str], str]]:
    turns = len(found["life"][OURS]["cold"])
    return {
        **{f"turn, {work}: requests / commands": _turn(work) for work in found["turns"][OURS]},
        **{
            f"KB uploaded by a turn after {each['length']:,} messages": _length(place)
            for place, each in enumerate(found["by_length"][OURS])
        },
        f"KB uploaded by {turns} cold turns, mean / most": _cold("cold"),
        "KB uploaded by a turn in a new process, mean / most": _cold("processes"),
        f"MB that a thread of {turns} turns takes": lambda found, name: _mb(found["life"][name]["stored"]),
        "after prune": _pruned,
        "its history, read whole: requests / MB / seconds": _listed,
        "KB uploaded by a deep agent's turn 2 / 12": _deep_upload,
        "requests / commands of its turn 12": lambda found, name: _counted(found["deep"][name][-1:]),
        "15 MB in one `update_state`": lambda found, name: _large(found["large"][name]),
    }


def _turn(work: str) -> Callable[[Found, str], str]:
    return lambda found, name: _counted(found["turns"][name][work])


def _counted(costs: Sequence[Mapping[str, Any]]) -> str:
    if costs[0]["commands"] is None:
        return _NONE
    requests = _NONE if costs[0]["requests"] is None else most(costs, "requests")
    return f"{requests} / {most(costs, 'commands')}"


def _length(place: int) -> Callable[[Found, str], str]:
    return lambda found, name: f"{most(found['by_length'][name][place]['costs'], 'uploaded') / 1000:,.1f}"


def _cold(kind: str) -> Callable[[Found, str], str]:
    def show(found: Found, name: str) -> str:
        sizes = found["life"][name][kind]
        return f"{sum(sizes) / len(sizes) / 1000:,.1f} / {max(sizes) / 1000:,.1f}"

    return show


def _pruned(found: Found, name: str) -> str:
    life = found["life"][name]
    return "cannot" if isinstance(life["pruned"], str) else _mb(life["after_prune"])


def _listed(found: Found, name: str) -> str:
    listed = found["life"][name]["listed"]
    requests, size = listed["requests"], listed["downloaded"]
    shown = [_NONE if requests is None else f"{requests:,}", _NONE if size is None else _mb(size)]
    return " / ".join([*shown, f"{spread(listed['seconds']).median:.1f}"])


def _deep_upload(found: Found, name: str) -> str:
    sizes = [cost["uploaded"] / 1000 for cost in found["deep"][name]]
    return f"{sizes[1]:.1f} / {sizes[-1]:.1f}"


def _large(cost: Any) -> str:
    return "refused" if isinstance(cost, str) else "stored"


def _mb(size: float) -> str:
    return f"{size / 1e6:.2f}" if size < 10e6 else f"{size / 1e6:.0f}"


def times(found: Found) -> str:
    """Return the times of a ReAct agent's turn, by latency, durability and library."""
    lines = []
    for latency, by_durability in found["at_latency"].items():
        for durability, each in by_durability.items():
            for name, runs in each.items():
                lines.append([
                    f"{latency} ms", durability, name, spread(runs["wall_ms"]).shown("{:.0f}"),
                    ratio(runs, each[OURS], "wall_ms").shown("{:.2f}×"), spread(runs["cpu_ms"]).shown("{:.0f}"),
                ])  # fmt: skip
    return table(["latency", "durability", "library", "ms", "chatstash = 1", "client CPU, ms"], lines)
