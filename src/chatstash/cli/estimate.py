"""Estimates a month of chats: requests, billed commands, bandwidth, storage and dollars. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from chatstash.cli.prices import FREE, GB, PAY_AS_YOU_GO

DAYS = 30
"""Days in a month."""

_BASE64 = 4 / 3
"""How much longer the old class's replies are: it requests base64."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The traffic of an application. Each user starts one conversation a day.

    Attributes:
        daily_users: Users a day.
        turns: Turns of each user a day; each reads the conversation and adds messages.
        messages: Messages that a turn adds.
        message_bytes: Size of a stored message, in bytes.
        ttl_days: Days from the last message until a conversation expires; None if it never does.
        regions: Regions of the database, with the primary one.
        idempotency: Whether messages are added with an idempotency key.
        guarded: Whether turns run in `guarded_turn()`.
        refresh: Whether each read refreshes the expiry.
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
    """The requests and commands of one turn.

    Attributes:
        requests: HTTP requests.
        commands: Commands billed in one region.
        writes: How many of these commands write.
    """

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
    added, writes = 1, 1
    if usage.idempotency:
        added, writes = 3, 2
    if usage.guarded:
        added, writes = 4, 1
    return Turn(2, 1 + refresh + added + expiry, refresh + writes + expiry)


def old_turn_of(usage: Usage) -> Turn:
    """Return a turn with langchain-community's class: one request per command, one or two commands per message."""
    expiry = int(usage.ttl_days is not None)
    writes = usage.messages * (1 + expiry)
    return Turn(1 + writes, 1 + writes, writes)


@dataclass(frozen=True, slots=True)
class Month:
    """The usage of a month, and its cost.

    Attributes:
        requests: HTTP requests.
        commands: Billed commands.
        moved_gb: Gigabytes of bandwidth.
        stored_gb: Gigabytes stored, once conversations expire as fast as they start; without a ttl, after one month.
    """

    requests: int
    commands: int
    moved_gb: float
    stored_gb: float

    @property
    def bill(self) -> dict[str, float]:
        """The pay-as-you-go cost in dollars: `commands`, `storage`, `bandwidth` and `total`."""
        lines = {
            "commands": self.commands * PAY_AS_YOU_GO.command,
            "storage": max(0.0, self.stored_gb - PAY_AS_YOU_GO.free_stored_gb) * PAY_AS_YOU_GO.stored_gb,
            "bandwidth": max(0.0, self.moved_gb - PAY_AS_YOU_GO.free_moved_gb) * PAY_AS_YOU_GO.moved_gb,
        }
        return lines | {"total": sum(lines.values())}

    @property
    def is_free(self) -> bool:
        """Whether the free plan covers it."""
        within = self.stored_gb <= FREE.stored_gb and self.moved_gb <= FREE.moved_gb
        return within and self.commands <= FREE.commands


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
    return Month(turns * turn.requests, turns * turn.billed(usage.regions), moved / GB, stored / GB)
