"""Plain values that go to the database and come back: commands, batches, replies and what they cost."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from chatstash.errors import DatabaseError

Argument: TypeAlias = str | int
Command: TypeAlias = tuple[Argument, ...]


Reply: TypeAlias = bytes | int | DatabaseError | list["Reply"] | None
"""What one command answers; a command of several that failed answers the error, which is not raised by itself."""


class Effect(enum.Enum):
    """What sending a batch twice would do."""

    READ = "it changes nothing"
    IDEMPOTENT = "what it changes is the same after the second time"
    WRITE = "the second time may change more: it must not be sent again where the first may have been applied"


KEY_LOCKING = "#!lua flags=allow-key-locking\n"
"""The first line of a script that locks only the keys it declares; without it Upstash locks the whole database
(https://upstash.com/docs/redis/sdks/ts/commands/scripts/eval). Only Upstash knows the flag."""

READING = "#!lua flags=no-writes,allow-key-locking\n"
"""The first line of such a script for EVAL_RO, which a read-only token may send."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Commands that travel in one HTTP request.

    Attributes:
        commands: At least one command, in the order in which they run.
        atomic: Whether nothing of other clients may come between them (a transaction).
        effect: What sending it twice would do.
        settlement: Returns the batch to send in place of a WRITE whose outcome is unknown: an IDEMPOTENT batch that
            does what is not done already. Without one, such a write is not sent again.
        ran_at: The place, in the reply of a script, at which it says how many commands it ran; None where it does not.
        within: How many commands a script runs that runs to its end, where that is known beforehand; for a reply that
            is refused for its size.
    """

    commands: tuple[Command, ...]
    atomic: bool = False
    effect: Effect = Effect.READ
    settlement: Callable[[], Batch] | None = field(default=None, compare=False)
    ran_at: int | None = field(default=None, compare=False)
    within: int = field(default=0, compare=False)

    @property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return self.effect is not Effect.READ

    def ran(self, values: Sequence[Reply]) -> int:
        """Return how many commands Upstash bills where these are the replies: each, and what a script says it ran."""
        within = values[0] if self.ran_at is not None else None
        if isinstance(within, list) and self.ran_at is not None and len(within) > self.ran_at:
            said = within[self.ran_at]
            return len(self.commands) + (said if isinstance(said, int) else 0)
        return len(self.commands)


@dataclass(frozen=True, slots=True)
class Cost:
    """What an operation cost; costs can be added.

    Attributes:
        requests: HTTP requests, those that failed and were sent again included.
        commands: Commands of the requests that were answered, and what ran within scripts, as Upstash bills them
            (https://upstash.com/docs/redis/overall/pricing). What a request ran whose reply was lost is not known.
        bytes_sent: Bytes of the HTTP bodies of the requests that were carried out.
        bytes_received: Bytes of the HTTP bodies of their replies.
    """

    requests: int = 0
    commands: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.requests + other.requests,
            self.commands + other.commands,
            self.bytes_sent + other.bytes_sent,
            self.bytes_received + other.bytes_received,
        )


class Replies(NamedTuple):
    """The replies to a batch, one for each command.

    Attributes:
        values: The replies.
        cost: What getting them cost.
        settled: Whether these are the replies to the batch's settlement.
    """

    values: tuple[Reply, ...]
    cost: Cost = Cost()
    settled: bool = False
