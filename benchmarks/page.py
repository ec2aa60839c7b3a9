"""Writes the figures of the committed results into the pages of the documentation, between their markers.

`make plots` runs it; a test checks that pages and results agree.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import checkpointer_aims, checkpointer_page
from benchmarks.markdown import aims, measured_on, table
from benchmarks.spread import ratio, spread
from benchmarks.table import rows

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Rewrite all pages."""
    for name in PAGES:
        page = ROOT / "docs" / name
        page.write_text(filled(name, page.read_text()))


def filled(name: str, text: str) -> str:
    """Return a page with the figures of the results between `<!-- figures:… -->` and `<!-- end -->`."""
    for marker, (result, make) in PAGES[name].items():
        text = _replaced(text, marker, make(json.loads((RESULTS / result).read_text())))
    return text


def _replaced(text: str, marker: str, figures: str) -> str:
    start, end = f"<!-- figures:{marker} -->", "<!-- end -->"
    before, found, rest = text.partition(start)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"the page has no {start} with {end} after it")
    return f"{before}{start}\n{figures}\n{end}{after}"


def _peers(found: Mapping[str, Any]) -> str:
    turns = {row["library"]: row for row in found["turn"]}
    reads = {row["library"]: row for row in found["read_own"]}
    adds = {row["library"]: row for row in found["add_many"]}

    def line(name: str) -> list[str]:
        turn, read, add = turns[name], reads.get(name), adds.get(name)
        counted = turn["requests"] is not None
        return [
            name,
            f"{turn['requests']} / {turn['billed_commands']}" if counted else "–",
            f"{turn['bytes'] / 1000:.1f}",
            _median(read["cpu_ms"], "{:.1f}") if read else "–",
            f"{read['bytes'] / 1000:.0f}" if read else "–",
            _median(add["wall_ms"], "{:.0f}") if add else "–",
        ]

    head = ["library", "requests / billed commands of a turn", "KB of a turn after 100 messages",
            "CPU ms, read 1,000", "KB, read 1,000", "ms, add 500"]  # fmt: skip
    return table(head, [line(name) for name in turns])


def _absent(found: Mapping[str, Any]) -> str:
    return "\n".join(f"- {name} could not run: `{reason}`" for name, reason in found["absent"].items()) or "None."


def _windows(found: Mapping[str, Any]) -> str:
    return table(["messages", "CPU ms", "wall ms", "bytes"], [
        [f"{row['length']:,}", _shown(row["cpu_ms"], "{:.2f}"), _shown(row["wall_ms"], "{:.2f}"), f"{row['bytes']:,}"]
        for row in found["windows"]
    ])  # fmt: skip


def _at_once(found: Mapping[str, Any]) -> str:
    costs = {"wall_ms": "ms", "cpu_ms": "client CPU, ms", "server_cpu_ms": "CPU of the local server and Valkey, ms"}
    return table(["turns", "library", *costs.values()], [
        [f"{each['turns']:,}", name, *(_shown(runs[cost], "{:,.0f}") for cost in costs)]
        for each in found["turns_at_once"] for name, runs in each["runs"].items()
    ])  # fmt: skip


def _small_turn(found: Mapping[str, Any]) -> str:
    bare = found["cpu"]["bare socket"]
    return table(["", "µs of client CPU", "bare socket = 1"], [
        [name, _shown(runs["cpu_us"], "{:.0f}"), ratio(runs, bare, "cpu_us").shown("{:.1f}")]
        for name, runs in found["cpu"].items()
    ])  # fmt: skip


def _start_up(found: Mapping[str, Any]) -> str:
    return table(["work", "ms of CPU", "ms"], [
        [name, _shown(runs["cpu_ms"], "{:.1f}"), _shown(runs["wall_ms"], "{:.1f}")]
        for name, runs in found["start_up"].items()
    ])  # fmt: skip


def _shown(values: Sequence[float], form: str) -> str:
    return spread(values).shown(form)


def _median(values: Sequence[float], form: str) -> str:
    return form.format(spread(values).median)


def _exponents(found: Mapping[str, Any]) -> str:
    lines = []
    for curve in [*found["by_length"], *found["memory_by_length"], *found["by_conversations"]]:
        first, last = curve["points"][0], curve["points"][-1]
        for cost, (slope, error) in curve["exponents"].items():
            if cost != "wall_ms" or "at once" in curve["work"]:
                lines.append([
                    curve["work"], _COSTS[cost], f"{first['n']:,} – {last['n']:,}", _amount(first[cost]),
                    _amount(last[cost]), f"{slope:.2f} ± {error:.2f}",
                ])  # fmt: skip
    return table(["work", "cost", "sizes", "smallest", "largest", "exponent"], lines)


_COSTS = {
    "cpu_ms": "client CPU, ms", "wall_ms": "time, ms", "bytes": "bytes on the wire",
    "server_bytes": "bytes at the server", "client_bytes": "bytes in the client, at most",
}  # fmt: skip


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _assumptions(found: Mapping[str, Any]) -> str:
    return table(["assumption", "value"], [
        [name.replace("_", " "), f"{value:,}"] for name, value in found["assumptions"].items()
    ])  # fmt: skip


def _costs(found: Mapping[str, Any]) -> str:
    lines = []
    for scenario in found["scenarios"]:
        costs = scenario["costs"]
        read = "" if costs["most_read"] is None else f", {costs['most_read']} at most"
        read += "" if costs["missed_share"] == 1 else f", in {costs['missed_share']:.0%} of the turns"
        lines.append([
            scenario["name"], f"{costs['requests']:g} / {costs['commands']:g} / {costs['writes']:g}",
            f"{costs['fixed_bytes']:,.0f}", f"{costs['read_bytes']:,.0f}{read}", f"{costs['stored_bytes']:,.0f}",
        ])  # fmt: skip
    head = ["", "requests / commands / writes of a turn", "bytes of a turn", "and of each message read",
            "bytes stored of a message"]  # fmt: skip
    return table(head, lines)


def _months(found: Mapping[str, Any]) -> str:
    regions = list(found["scenarios"][0]["bills"])
    lines = [
        [
            row["name"], f"{row['requests'] / 1e6:,.0f}", f"{row['commands'] / 1e6:,.0f}", f"{row['moved_gb']:,.0f}",
            f"{row['simulated_moved_gb']:,.0f} ± {row['simulated_error']:.0%}", f"{row['stored_gb']:,.0f}",
            *(f"{row['bills'][region]['total']:,.0f}" for region in regions),
        ]
        for row in found["scenarios"]
    ]  # fmt: skip
    head = ["a month", "million requests", "million commands", "GB moved", "simulated", "GB stored",
            *(f"$, {region} read regions" for region in regions)]  # fmt: skip
    return table(head, lines)


def _limits(found: Mapping[str, Any]) -> str:
    return table(["", "the limit reached first", "then"], [
        [row["name"], *(f"{limit['limit']}: {limit['used']:.2f} of it" for limit in row["limits"][:2])]
        for row in found["scenarios"]
    ])  # fmt: skip


def _prices(found: Mapping[str, Any]) -> str:
    prices, measured = found["prices_as_of"], found["machine"]["date"]
    return f"Prices as of {prices}, pay-as-you-go ([which](cost.md)); costs measured on {measured}."


def _install(found: Mapping[str, Any]) -> str:
    base, added = found["base"], found["added"]
    lines = [[name, f"{row['packages']}", f"{row['megabytes']:.1f}"] for name, row in added.items()]
    return table([f"added to {base['name']}", "packages", "MB"], [
        *lines, [f"{base['name']} itself", f"{base['packages']}", f"{base['megabytes']:.1f}"]
    ])  # fmt: skip


def _listings(found: Mapping[str, Any]) -> str:
    lines = [
        [f"{row['sessions']:,}", f"{row['users']:,}", f"{row['requests']}", f"{row['billed_commands']}",
         f"{row['bytes_sent']:,}", f"{row['server_cpu_ms']:.1f}"]
        for row in (*found["by_sessions"], *found["by_users"])
    ]  # fmt: skip
    return table(["sessions of the user", "users", "requests", "commands", "bytes", "server CPU, ms"], lines)


PAGES: Mapping[str, Mapping[str, tuple[str, Callable[[Mapping[str, Any]], str]]]] = {
    "performance.md": {
        "aims": ("compare.json", lambda found: aims(rows(found))),
        "machine": ("compare.json", measured_on),
        "peers": ("compare.json", _peers),
        "absent": ("compare.json", _absent),
        "windows": ("compare.json", _windows),
        "at-once": ("compare.json", _at_once),
        "small-turn": ("turn.json", _small_turn),
        "start-up": ("compare.json", _start_up),
        "growth": ("growth.json", _exponents),
        "install": ("install.json", _install),
    },
    "checkpointer-performance.md": {
        "aims": ("checkpointers.json", lambda found: aims(checkpointer_aims.rows(found))),
        "machine": ("checkpointers.json", measured_on),
        "savers": ("checkpointers.json", checkpointer_page.savers),
        "times": ("checkpointers.json", checkpointer_page.times),
        "absent": ("checkpointers.json", _absent),
    },
    "sessions.md": {
        "listings": ("sessions.json", _listings),
        "machine": ("sessions.json", measured_on),
    },
    "scale.md": {
        "assumptions": ("scale.json", _assumptions),
        "costs": ("scale.json", _costs),
        "months": ("scale.json", _months),
        "limits": ("scale.json", _limits),
        "prices": ("scale.json", _prices),
    },
}


if __name__ == "__main__":
    main()
