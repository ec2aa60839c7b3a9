"""What is known while a run goes on: what was acknowledged, edited, damaged, and what readers saw."""

from __future__ import annotations

import time
from array import array
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from chatstash import OutcomeUnknown
from tests.reliability.chaos.plan import Append, Name


class Sight(NamedTuple):
    """What one read gave.

    Attributes:
        way: How it was read.
        session: Which conversation.
        wanted: How many messages were asked for; None for all.
        names: The messages, oldest first, as numbers (`Ledger.number`).
        known: How many acknowledged messages of the conversation the ledger had before.
        total: What `count` gave; None for any other way.
    """

    way: str
    session: str
    wanted: int | None
    names: Sequence[int]
    known: int
    total: int | None = None


@dataclass
class Ledger:
    """Written by all threads; lists only grow, so what a reader knew before is their length then."""

    acknowledged: dict[str, list[Name]] = field(default_factory=lambda: defaultdict(list))
    unknown: dict[tuple[int, int], OutcomeUnknown] = field(default_factory=dict)
    refused: set[tuple[int, int]] = field(default_factory=set)
    spans: dict[tuple[int, int], tuple[float, float]] = field(default_factory=dict)
    """When each acknowledged append was first tried, and when it was acknowledged."""
    begun: dict[tuple[int, int], float] = field(default_factory=dict)
    """When each append was first tried: it may have been stored then, whatever its client learned."""
    edits: dict[str, dict[Name, int]] = field(default_factory=lambda: defaultdict(dict))
    damage: Counter[str] = field(default_factory=Counter)
    """How many records were put into each session past the library, or by the doctor."""
    sights: list[Sight] = field(default_factory=list)
    numbers: dict[Name, int] = field(default_factory=dict)
    names: list[Name] = field(default_factory=list)

    def plan(self, appends: Sequence[Append]) -> None:
        """Give each message a number, which takes less room than its name."""
        self.names = [name for append in appends for name in append.names]
        self.numbers = {name: number for number, name in enumerate(self.names)}

    def begin(self, append: Append) -> None:
        """Note that an append is about to be tried."""
        self.begun.setdefault(append.identity, time.monotonic())

    def acknowledge(self, append: Append) -> None:
        """Note that an append was stored."""
        self.acknowledged[append.session].extend(append.names)
        now = time.monotonic()
        self.spans.setdefault(append.identity, (self.begun.get(append.identity, now), now))

    def see(self, way: str, session: str, wanted: int | None, names: Sequence[Name], known: int) -> None:
        """Note what a read gave."""
        found = array("l", [self.numbers[name] for name in names])
        self.sights.append(Sight(way, session, wanted, found, known))
