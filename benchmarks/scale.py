"""One million daily users, calculated and simulated: part of `make bench`, `python -m benchmarks.scale --json FILE`.

The cost of each library's operations is measured on the local server: requests, billed commands and bytes. From it and
the assumptions, a formula gives the cost of a month. A simulation of some of the users, with random turns over a day,
gives the same within its error, and the peak load.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.local_server import TOKEN, Server, server
from benchmarks.machine import machine
from benchmarks.output import parser_of, write
from benchmarks.peers import Community
from benchmarks.rounds import conversation
from chatstash import Store, UpstashRedisChatMessageHistory
from chatstash.cli.estimate import DAYS, Month
from chatstash.cli.prices import AS_OF, GB

REGIONS = (0, 1, 2, 4)
_LENGTHS = (10, 30)
"""Lengths of the measured conversations, in messages; the difference of two gives the cost of a message."""


@dataclass(frozen=True)
class Assumptions:
    """Assumptions about the users and their conversations.

    Attributes:
        users: Daily users; each has one new conversation that day.
        mean_turns: Average turns of a conversation.
        spread: How unequal conversations are: the standard deviation of the logarithm of their turns (log-normal).
        most_turns: The most turns of a conversation.
        message_characters: Characters of a message; a turn adds two messages.
        ttl_days: Days for which a conversation is kept after its last message.
        swing: How far the busiest time of the day is above the average, and the quietest below, as a share.
        think_seconds: Average seconds between the turns of a conversation.
        hit_rate: Share of reads that are cache hits in their process.
        window: Messages of a window.
    """

    users: int = 1_000_000
    mean_turns: float = 8.0
    spread: float = 1.0
    most_turns: int = 500
    message_characters: int = 200
    ttl_days: int = 30
    swing: float = 0.8
    think_seconds: float = 60.0
    hit_rate: float = 0.5
    window: int = 40

    def turn_shares(self) -> list[float]:
        """Return the probability of each number of turns, from 1 on: log-normal, rounded, cut off."""
        centre = self._centre()
        edges = [0.0] + [math.log(turns + 0.5) for turns in range(1, self.most_turns + 1)]
        below = [0.0] + [0.5 * (1 + math.erf((edge - centre) / self.spread / math.sqrt(2))) for edge in edges[1:]]
        shares = [upper - lower for lower, upper in pairwise(below)]
        return [share / sum(shares) for share in shares]

    def _centre(self) -> float:
        return math.log(self.mean_turns) - self.spread**2 / 2


@dataclass(frozen=True)
class Costs:
    """The measured cost of a turn. Bytes are those of HTTP bodies.

    Attributes:
        requests, commands, writes: HTTP requests, commands billed in one region, and the writing ones among them.
        fixed_bytes: Bytes of a turn that reads no message.
        read_bytes: Bytes of each message that is read.
        stored_bytes: Bytes that a message takes in the database.
        most_read: The most messages read in a turn; None for all.
        missed_share: The share of reads that fetch all messages; the others fetch only new ones.
    """

    requests: float
    commands: float
    writes: float
    fixed_bytes: float
    read_bytes: float
    stored_bytes: float
    most_read: int | None = None
    missed_share: float = 1.0

    def bytes_of(self, stored: int) -> float:
        """Return the bytes of a turn of a conversation with `stored` messages."""
        read = stored if self.most_read is None else min(stored, self.most_read)
        return self.fixed_bytes + self.missed_share * self.read_bytes * read


def measured(local: Server, assumptions: Assumptions) -> dict[str, Costs]:
    """Measure the cost of a turn with each library and option."""
    ttl = assumptions.ttl_days * 86_400

    def ours(session_id: str, cache_bytes: int | None = None) -> UpstashRedisChatMessageHistory:
        store = Store(local.url, TOKEN, ttl=ttl, cache_bytes=cache_bytes)
        return UpstashRedisChatMessageHistory(session_id, store=store)

    def costs(name: str, make: Callable[[str], Any]) -> Costs:
        return _costs(local, name, make, partial(conversation, characters=assumptions.message_characters))

    old = costs("old", lambda session_id: Community(session_id, local.url, "").history)
    new = costs("new", ours)
    window = costs("window", lambda session_id: _bounded(ours(session_id), assumptions.window))
    hit = costs("cached", lambda session_id: ours(session_id, 10**8))
    return {
        "langchain-community": old,
        "chatstash": new,
        "chatstash, window": replace(window, read_bytes=new.read_bytes, most_read=assumptions.window),
        "chatstash, cache": _mixed(hit, new, assumptions.hit_rate),
    }


def _bounded(history: UpstashRedisChatMessageHistory, window: int) -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory(history.session_id, store=history._store, read_last=window)  # noqa: SLF001


def _costs(
    local: Server,
    name: str,
    make: Callable[[str], Any],
    said: Callable[[int], Any],
    lengths: tuple[int, int] = (10, 30),
) -> Costs:
    turns, stored = [], 0.0
    for length in lengths:
        history = make(f"{name}-{length}")
        history.add_messages(said(length))
        _ = history.messages
        turns.append(_turn(local, history, said(2)))
        used = local.run("MEMORY", "USAGE", f"message_store:{name}-{length}", "SAMPLES", 0)
        stored = int(used) / (length + 2)
    short, long = turns
    read_bytes = (long["bytes"] - short["bytes"]) / (_LENGTHS[1] - _LENGTHS[0])
    fixed_bytes = short["bytes"] - _LENGTHS[0] * read_bytes
    return Costs(long["requests"], long["commands"], long["writes"], fixed_bytes, read_bytes, stored)


def _mixed(hit: Costs, miss: Costs, hit_rate: float) -> Costs:
    """Return the cost of a turn where a share of the reads are cache hits."""

    def mean(of_hit: float, of_miss: float) -> float:
        return hit_rate * of_hit + (1 - hit_rate) * of_miss

    return replace(
        miss,
        commands=mean(hit.commands, miss.commands),
        fixed_bytes=mean(hit.fixed_bytes, miss.fixed_bytes),
        missed_share=1 - hit_rate,
    )


def _turn(local: Server, history: Any, added: Any) -> dict[str, float]:
    before = local.stats()
    _ = history.messages
    history.add_messages(added)
    after = local.stats()
    spent = {name: after[name] - before[name] for name in ("requests", "billed_commands", "writes")}
    size = sum(after[name] - before[name] for name in ("bytes_received", "bytes_sent"))
    return {
        "requests": spent["requests"],
        "commands": spent["billed_commands"],
        "writes": spent["writes"],
        "bytes": size,
    }


@dataclass(frozen=True)
class Day:
    """The cost of a day of all users."""

    turns: float
    moved_bytes: float

    def month(self, costs: Costs, assumptions: Assumptions, read_regions: int) -> Month:
        """Return the cost of a month of such days."""
        turns = self.turns * DAYS
        kept = self.turns * 2 * assumptions.ttl_days
        return Month(
            round(turns * costs.requests),
            round(turns * (costs.commands + costs.writes * read_regions)),
            self.moved_bytes * DAYS / GB,
            kept * costs.stored_bytes / GB,
        )


def by_formula(assumptions: Assumptions, costs: Costs) -> Day:
    """Return a day, from the probability of each number of turns."""
    turns = moved = read_so_far = 0.0
    for number, share in enumerate(assumptions.turn_shares(), 1):
        # Before this turn, 2 * (number - 1) messages are stored.
        read_so_far += costs.bytes_of(2 * (number - 1))
        turns += share * number
        moved += share * read_so_far
    return Day(assumptions.users * turns, assumptions.users * moved)


@dataclass(frozen=True)
class Simulated:
    """The result of a simulated day.

    Attributes:
        day: The day, scaled up to all users.
        error: The standard error of its bytes, as a share.
        peak_turns: Turns a second, in the busiest ten minutes.
    """

    day: Day
    error: float
    peak_turns: float


def by_chance(assumptions: Assumptions, costs: Costs, seed: int = 1, sampled: int = 20_000) -> Simulated:
    """Simulate a day of some of the users, with random starts and numbers of turns."""
    chance = random.Random(seed)  # noqa: S311 - not a secret
    numbers = chance.choices(range(1, assumptions.most_turns + 1), assumptions.turn_shares(), k=sampled)
    moved = [sum(costs.bytes_of(2 * done) for done in range(number)) for number in numbers]
    starts = [_moment(chance, assumptions.swing) for _ in numbers]
    tens = [0] * (6 * 24)
    for start, number in zip(starts, numbers, strict=True):
        moment = start
        for _ in range(number):
            tens[int(moment // 600) % len(tens)] += 1
            moment += chance.expovariate(1 / assumptions.think_seconds)
    scale = assumptions.users / sampled
    mean = sum(moved) / sampled
    deviation = math.sqrt(sum((one - mean) ** 2 for one in moved) / (sampled - 1) / sampled)
    return Simulated(Day(sum(numbers) * scale, sum(moved) * scale), deviation / mean, max(tens) * scale / 600)


def _moment(chance: random.Random, swing: float) -> float:
    """Return a second of the day; a sine makes the evening likelier than the morning."""
    while True:
        moment = chance.uniform(0, 86_400)
        if chance.uniform(0, 1 + swing) < 1 + swing * math.sin(2 * math.pi * (moment / 86_400 - 0.5)):
            return moment


def limits(costs: Costs, day: Day, peak_turns: float, assumptions: Assumptions) -> list[dict[str, Any]]:
    """Return the used share of each of Upstash's limits, the highest first.

    The limits are those of the pay-as-you-go plan: https://upstash.com/pricing/redis and
    https://upstash.com/docs/redis/troubleshooting/max_request_size_exceeded.
    """
    longest = 2 * assumptions.most_turns
    read = longest if costs.most_read is None else min(longest, costs.most_read)
    month = day.month(costs, assumptions, 0)
    used = {
        "commands a second, 10,000": peak_turns * costs.commands / 10_000,
        "one request or reply, 10 MB (the longest conversation)": costs.read_bytes * read / 10_000_000,
        "one conversation, 100 MB": costs.stored_bytes * longest / 100_000_000,
        "data, 100 GB": month.stored_gb / 100,
    }
    return [{"limit": name, "used": share} for name, share in sorted(used.items(), key=lambda item: -item[1])]


def measure(assumptions: Assumptions) -> dict[str, Any]:
    """Measure costs and calculate everything."""
    with server() as local:
        costs = measured(local, assumptions)
    scenarios = []
    for name, cost in costs.items():
        day, simulated = by_formula(assumptions, cost), by_chance(assumptions, cost)
        months = {regions: day.month(cost, assumptions, regions) for regions in REGIONS}
        scenarios.append({
            "name": name, "costs": asdict(cost),
            "turns": day.turns * DAYS, "requests": months[0].requests, "commands": months[0].commands,
            "moved_gb": months[0].moved_gb, "stored_gb": months[0].stored_gb,
            "bills": {str(regions): month.bill for regions, month in months.items()},
            "simulated_moved_gb": simulated.day.moved_bytes * DAYS / GB, "simulated_error": simulated.error,
            "peak_turns": simulated.peak_turns,
            "limits": limits(cost, day, simulated.peak_turns, assumptions),
        })  # fmt: skip
    return {"machine": machine(), "prices_as_of": AS_OF.isoformat(), "assumptions": asdict(assumptions),
            "scenarios": scenarios}  # fmt: skip


def show(found: Mapping[str, Any]) -> None:
    """Print a table."""
    table = Table("a month of", "requests", "commands", "GB moved", "simulated", "GB stored", *_heads(), "first limit")
    for row in found["scenarios"]:
        first = row["limits"][0]
        table.add_row(
            row["name"], f"{row['requests']:,}", f"{row['commands']:,}", f"{row['moved_gb']:,.0f}",
            f"{row['simulated_moved_gb']:,.0f} ± {row['simulated_error']:.0%}", f"{row['stored_gb']:,.0f}",
            *(f"${bill['total']:,.0f}" for bill in row["bills"].values()), f"{first['used']:.1f}× {first['limit']}",
        )  # fmt: skip
    Console(width=None if sys.stdout.isatty() else 180).print(table)


def _heads() -> Sequence[str]:
    return [f"bill, {regions} read regions" for regions in REGIONS]


def main() -> None:
    """Calculate, print, and write JSON if asked."""
    parser = parser_of(__doc__)
    parser.add_argument("--users", type=int, default=Assumptions.users, help="daily users (default 1,000,000)")
    options = parser.parse_args()
    found = measure(Assumptions(users=options.users))
    show(found)
    write(found, options.json)


if __name__ == "__main__":
    main()
