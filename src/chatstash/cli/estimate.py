"""Estimates a month of chats: requests, billed commands, bandwidth, storage and dollars. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from chatstash.cli import prices

DAYS = 30
"""Days in a month."""

_BASE64 = 4 / 3
"""How much longer the old class's replies are: it requests base64."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The traffic of an application, as the options of `cost` describe it.

    Each user starts one conversation a day. Each turn reads it and adds messages. If `ttl_days` is None,
    conversations never expire.
    """

    daily_users: int
    turns: int
    messages: int
    message_bytes: int
    ttl_days: float | None
    regions: int = 1
    idempotency: bool = False
    guarded: bool = False
    refresh: bool = False

    @property
    def monthly_turns(self) -> int:
        """Turns of all users in a month."""
        return self.daily_users * self.turns * DAYS


@dataclass(frozen=True, slots=True)
class Turn:
    """The HTTP requests of one turn, its commands as billed in one region, and how many of these write."""

    requests: int
    commands: int
    writes: int

    def billed(self, regions: int) -> int:
        """Return the billed commands: each further region bills every write once more."""
        return self.commands + self.writes * (regions - 1)


def turn_of(usage: Usage) -> Turn:
    """Return a turn with chatstash: one request reads, one adds. A conversation's first guarded turn takes less."""
    expiry = int(usage.ttl_days is not None)
    refresh = expiry * usage.refresh
    added, writes = (4, 1) if usage.guarded else (3, 2) if usage.idempotency else (1, 1)
    return Turn(2, 1 + refresh + added + expiry, refresh + writes + expiry)


def old_turn_of(usage: Usage) -> Turn:
    """Return a turn with langchain-community's class: one request per command, one or two commands per message."""
    expiry = int(usage.ttl_days is not None)
    writes = usage.messages * (1 + expiry)
    return Turn(1 + writes, 1 + writes, writes)


@dataclass(frozen=True, slots=True)
class Month:
    """The HTTP requests of a month, billed commands, gigabytes of bandwidth and gigabytes stored; and the bill.

    Stored is what a database holds once conversations expire as fast as they start; without a ttl, after one month.
    """

    requests: int
    commands: int
    moved_gb: float
    stored_gb: float

    @property
    def bill(self) -> dict[str, float]:
        """The pay-as-you-go cost in dollars: `commands`, `storage`, `bandwidth` and `total`."""
        lines = {
            "commands": self.commands * prices.COMMAND,
            "storage": max(0.0, self.stored_gb - prices.FREE_STORED_GB) * prices.STORED_GB,
            "bandwidth": max(0.0, self.moved_gb - prices.FREE_MOVED_GB) * prices.MOVED_GB,
        }
        return lines | {"total": sum(lines.values())}

    @property
    def is_free(self) -> bool:
        """Whether the free plan covers it."""
        within = self.stored_gb <= prices.PLAN_STORED_GB and self.moved_gb <= prices.PLAN_MOVED_GB
        return within and self.commands <= prices.PLAN_COMMANDS


def month_of(usage: Usage) -> Month:
    """Return a month with chatstash."""
    return _month(usage, turn_of(usage), 1.0)


def old_month_of(usage: Usage) -> Month:
    """Return a month with langchain-community's class; of the options, it has only the ttl."""
    return _month(usage, old_turn_of(usage), _BASE64)


def _month(usage: Usage, turn: Turn, per_read_byte: float) -> Month:
    turns = usage.monthly_turns
    # The first turn reads no messages, the second reads those of one turn, and so on.
    read = usage.messages * (usage.turns - 1) / 2
    moved = turns * usage.message_bytes * (usage.messages + read * per_read_byte)
    kept_days = DAYS if usage.ttl_days is None else usage.ttl_days
    stored = turns / DAYS * usage.messages * usage.message_bytes * kept_days
    return Month(turns * turn.requests, turns * turn.billed(usage.regions), moved / prices.GB, stored / prices.GB)
