"""The cost of a month of chats: requests, billed commands, bandwidth, storage and dollars. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from chatstash.cli.prices import FREE, GB, PAY_AS_YOU_GO

DAYS = 30
"""Days of a month."""

_BASE64 = 4 / 3
"""By how much the old class's replies are longer: it asks for them in base64."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What is chatted. Each user has one conversation a day, which begins empty.

    Attributes:
        daily_users: Users a day.
        turns: Turns of each of them a day; each reads the conversation and adds messages.
        messages: Messages that a turn adds.
        message_bytes: Bytes of a message as it is stored.
        ttl_days: Days for which a conversation is kept after its last message; None for ever.
        regions: Regions of the database, the primary one included.
        idempotency: Whether messages are added with an idempotency key.
        guarded: Whether turns are guarded, by `guarded_turn()`.
        refresh: Whether reading sets the expiry anew.
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
    """What one turn takes.

    Attributes:
        requests: HTTP requests.
        commands: Commands, as billed in one region.
        writes: Those of them that write.
    """

    requests: int
    commands: int
    writes: int

    def billed(self, regions: int) -> int:
        """Return the commands that are billed: each, and each write once more for each region but the first."""
        return self.commands + self.writes * (regions - 1)


def turn_of(usage: Usage) -> Turn:
    """Return what a turn takes: one request to read, one to add. The first guarded one of a conversation takes less."""
    expiry = int(usage.ttl_days is not None)
    refresh = expiry * usage.refresh
    added, writes = 1, 1
    if usage.idempotency:
        added, writes = 3, 2
    if usage.guarded:
        added, writes = 4, 1
    return Turn(2, 1 + refresh + added + expiry, refresh + writes + expiry)


def old_turn_of(usage: Usage) -> Turn:
    """Return what a turn takes with langchain-community's class: a request for each command, two for each message."""
    expiry = int(usage.ttl_days is not None)
    writes = usage.messages * (1 + expiry)
    return Turn(1 + writes, 1 + writes, writes)


@dataclass(frozen=True, slots=True)
class Month:
    """The cost of a month.

    Attributes:
        requests: HTTP requests.
        commands: Commands as billed.
        moved_gb: Gigabytes of bandwidth.
        stored_gb: Gigabytes stored: once as many expire as are added, or without a ttl after the first month.
    """

    requests: int
    commands: int
    moved_gb: float
    stored_gb: float

    @property
    def bill(self) -> dict[str, float]:
        """Dollars for `commands`, `storage` and `bandwidth`, by the pay-as-you-go plan, and in `total`."""
        lines = {
            "commands": self.commands * PAY_AS_YOU_GO.command,
            "storage": max(0.0, self.stored_gb - PAY_AS_YOU_GO.free_stored_gb) * PAY_AS_YOU_GO.stored_gb,
            "bandwidth": max(0.0, self.moved_gb - PAY_AS_YOU_GO.free_moved_gb) * PAY_AS_YOU_GO.moved_gb,
        }
        return lines | {"total": sum(lines.values())}

    @property
    def is_free(self) -> bool:
        """Whether it is within the free plan."""
        within = self.stored_gb <= FREE.stored_gb and self.moved_gb <= FREE.moved_gb
        return within and self.commands <= FREE.commands


def month_of(usage: Usage) -> Month:
    """Return the cost of a month with chatstash."""
    return _month(usage, turn_of(usage), 1.0)


def old_month_of(usage: Usage) -> Month:
    """Return the cost of a month with langchain-community's class, which has none of the options but the ttl."""
    return _month(usage, old_turn_of(usage), _BASE64)


def _month(usage: Usage, turn: Turn, per_read_byte: float) -> Month:
    turns = usage.monthly_turns
    # Read at the first turn are none, at the second those of one turn, and so on.
    read = usage.messages * (usage.turns - 1) / 2
    moved = turns * usage.message_bytes * (usage.messages + read * per_read_byte)
    kept_days = DAYS if usage.ttl_days is None else usage.ttl_days
    stored = turns / DAYS * usage.messages * usage.message_bytes * kept_days
    return Month(turns * turn.requests, turns * turn.billed(usage.regions), moved / GB, stored / GB)
