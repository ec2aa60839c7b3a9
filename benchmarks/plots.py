"""The plots of the documentation, drawn from the committed results: `make plots`, `python -m benchmarks.plots`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

from benchmarks.spread import spread

RESULTS = Path(__file__).parent / "results"
IMAGES = Path(__file__).parent.parent / "docs" / "img"
OURS, OLD, OTHER = "#1a7f5a", "#c2543d", "#8a8f98"
_SAVERS: Mapping[str, Any] = {
    "chatstash": {"color": OURS},
    "langgraph-checkpoint-upstash-redis": {"color": OLD},
    "langgraph-checkpoint-plainredis": {"color": OTHER, "linestyle": "--"},
    "langgraph-checkpoint-sqlite": {"color": OTHER, "linestyle": ":"},
}
_STYLE = {
    "font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 150, "axes.titlesize": 11,
    "axes.titlelocation": "left", "svg.hashsalt": "chatstash",
}  # fmt: skip


def main() -> None:
    """Draw all plots."""
    mpl.use("Agg")
    mpl.rcParams.update(_STYLE)
    IMAGES.mkdir(exist_ok=True)
    found = json.loads((RESULTS / "compare.json").read_text())
    _save(_turn(found), "turn.png")
    _save(_reads(found), "reads.png")
    _save(_windows(found), "windows.png")
    growth = json.loads((RESULTS / "growth.json").read_text())
    _save(_growth(growth), "growth.png")
    _save(_cold_turns(json.loads((RESULTS / "checkpointers.json").read_text())), "checkpointers.png")
    _save(_bills(json.loads((RESULTS / "scale.json").read_text())), "bills.png")


def _save(figure: Any, name: str) -> None:
    figure.savefig(IMAGES / name, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


def colour_of(library: str) -> str:
    """Return the colour of a library: chatstash's, the old class's, or that of others."""
    return OURS if library.startswith("chatstash") else OLD if library == "langchain-community" else OTHER


def bars(axes: Any, values: Mapping[str, float], title: str, form: str) -> None:
    """Draw a bar for each library, the first at the top, with its value."""
    names = list(values)
    drawn = axes.barh(names, list(values.values()), color=[colour_of(name) for name in names], height=0.62)
    axes.bar_label(drawn, [form.format(value) for value in values.values()], padding=4)
    axes.invert_yaxis()
    axes.set_title(title)
    axes.set_xlim(0, max(values.values()) * 1.18)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _turn(found: Mapping[str, Any]) -> Any:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 2.3), gridspec_kw={"wspace": 0.55})
    rows: Sequence[Mapping[str, Any]] = found["turn"]
    bars(
        left, {row["library"]: row["requests"] for row in rows if row["requests"]}, "HTTP requests of a turn", "{:.0f}"
    )
    bars(right, {row["library"]: row["bytes"] / 1000 for row in rows},
         "KB on the wire, turn after 100 messages", "{:.1f}")  # fmt: skip
    return figure


def _reads(found: Mapping[str, Any]) -> Any:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 2.3), gridspec_kw={"wspace": 0.55})
    bars(left, {row["library"]: spread(row["cpu_ms"]).median for row in found["read_own"]},
         "ms of client CPU: read 1,000 messages", "{:.1f}")  # fmt: skip
    bars(right, {name: spread(row["cpu_ms"]).median for name, row in found["next_turn"].items()},
         "ms of client CPU: the next turn's read", "{:.1f}")  # fmt: skip
    return figure


def _windows(found: Mapping[str, Any]) -> Any:
    figure, axes = plt.subplots(figsize=(6, 2.8))
    lengths = [row["length"] for row in found["windows"]]
    axes.plot(
        lengths, [spread(row["cpu_ms"]).median for row in found["windows"]], "o-", color=OURS, label="client CPU, ms"
    )
    axes.plot(lengths, [row["bytes"] / 1000 for row in found["windows"]], "s--", color=OTHER, label="bytes, KB")
    axes.set_xscale("log")
    axes.set_xticks(lengths, [f"{length:,}" for length in lengths])
    axes.minorticks_off()
    axes.set_ylim(0)
    axes.set_xlabel("messages in the conversation")
    axes.set_title("A window of 20 messages, by the conversation's length")
    axes.legend(frameon=False)
    return figure


def _growth(found: Mapping[str, Any]) -> Any:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.4), gridspec_kw={"wspace": 0.28})
    shown = {
        "read all, old class": (OLD, "o-"),
        "read all": (OURS, "o-"),
        "read all again, cached": (OURS, "s--"),
        "window of 20": (OTHER, "^-"),
        "add 2": (OTHER, "v:"),
    }
    curves = {curve["work"]: curve["points"] for curve in found["by_length"]}
    for axes, cost, title in ((left, "cpu_ms", "ms of client CPU"), (right, "bytes", "bytes on the wire")):
        for work, (colour, form) in shown.items():
            points = curves[work]
            axes.plot(
                [point["n"] for point in points], [point[cost] for point in points], form, color=colour, label=work
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("messages in the conversation")
        axes.set_title(title)
    left.legend(frameon=False, fontsize=8)
    return figure


def _cold_turns(found: Mapping[str, Any]) -> Any:
    figure, axes = plt.subplots(figsize=(7.5, 3.2))
    for name, life in found["life"].items():
        if isinstance(life, Mapping):
            sizes = [max(size, 1) / 1000 for size in life["cold"]]
            axes.plot(range(1, len(sizes) + 1), sizes, **_SAVERS[name], label=name)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("turn")
    axes.set_title("KB uploaded by each turn of one thread")
    axes.legend(frameon=False, fontsize=8)
    return figure


def _bills(found: Mapping[str, Any]) -> Any:
    figure, axes = plt.subplots(figsize=(7.5, 3.2))
    regions = list(found["scenarios"][0]["bills"])
    colours = {"chatstash, window": "#5fb891", "chatstash, cache": "#a5d8bf"}
    width = 0.2
    for place, scenario in enumerate(found["scenarios"]):
        name = scenario["name"]
        at = [index + (place - 1.5) * width for index in range(len(regions))]
        totals = [scenario["bills"][region]["total"] for region in regions]
        axes.bar(at, totals, width * 0.92, color=colours.get(name, colour_of(name)), label=name)
    axes.set_xticks(range(len(regions)), regions)
    axes.set_xlabel("read regions")
    axes.set_title("US dollars a month for one million daily users")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.legend(frameon=False, fontsize=8)
    return figure


if __name__ == "__main__":
    main()
