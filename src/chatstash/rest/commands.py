"""Commands, batches, replies and their cost, as plain values."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from chatstash.errors import DatabaseError

Argument: TypeAlias = str | int
Command: TypeAlias = tuple[Argument, ...]


Reply: TypeAlias = bytes | int | DatabaseError | list["Reply"] | None
"""The reply to one command. Where one command of several fails, its reply is the error, as a value."""


class Effect(enum.Enum):
    """What sending a batch twice would do."""

    READ = "changes nothing"
    IDEMPOTENT = "has the same result when sent twice"
    WRITE = "may change more when sent twice: not retried if the first request may have been applied"


KEY_LOCKING = "#!lua flags=allow-key-locking\n"
"""The first line of a script that locks only the keys it declares; without it Upstash locks the whole database
(https://upstash.com/docs/redis/sdks/ts/commands/scripts/eval). Only Upstash knows the flag."""

READING = "#!lua flags=no-writes,allow-key-locking\n"
"""The same for a script run by EVAL_RO, which a read-only token may send."""


# Not frozen: a frozen dataclass takes four times as long to create.
@dataclass(slots=True)
class Batch:
    """The commands of one HTTP request.

    Attributes:
        commands: At least one command, in the order in which they run.
        atomic: Whether they run as one transaction.
        effect: What sending the batch twice would do.
        settlement: Returns an IDEMPOTENT batch that completes a WRITE whose outcome is unknown: it does what is not
            done already. A WRITE without one is not retried once its outcome is unknown.
        command_count_index: Index, in the array that each script replies, of the number of commands it ran; None for
            a batch without scripts.
        script_commands: Commands that a script runs, if known beforehand; used when its reply is refused for its size.
    """

    commands: tuple[Command, ...]
    atomic: bool = False
    effect: Effect = Effect.READ
    settlement: Callable[[], Batch] | None = field(default=None, compare=False)
    command_count_index: int | None = field(default=None, compare=False)
    script_commands: int = field(default=0, compare=False)

    @property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return self.effect is not Effect.READ

    def billed_commands(self, values: Sequence[Reply]) -> int:
        """Return how many commands Upstash bills for these replies, those within scripts included."""
        index = self.command_count_index
        if index is None:
            return len(self.commands)
        answers = [value for command, value in zip(self.commands, values, strict=False) if command[0] in _SCRIPTS]
        within = [answer[index] for answer in answers if isinstance(answer, list) and len(answer) > index]
        return len(self.commands) + sum(count for count in within if isinstance(count, int))


_SCRIPTS = ("EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO")


class Cost(NamedTuple):
    """The cost of an operation. Costs can be added.

    Attributes:
        requests: HTTP requests, including failed ones and retries.
        commands: Commands billed by Upstash (https://upstash.com/docs/redis/overall/pricing), including those that
            scripts run. Excludes requests whose reply was lost and scripts that failed: what they ran is unknown.
        bytes_sent: Bytes of the HTTP bodies of answered requests.
        bytes_received: Bytes of the HTTP bodies of their replies.
    """

    requests: int = 0
    commands: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0

    def __add__(self, other: Cost) -> Cost:  # type: ignore[override] # tuples would be joined
        return Cost(
            self.requests + other.requests,
            self.commands + other.commands,
            self.bytes_sent + other.bytes_sent,
            self.bytes_received + other.bytes_received,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return self._asdict()


class Replies(NamedTuple):
    """The replies to a batch, one for each command; if `settled`, to its settlement. `cost` is that of one request."""

    values: tuple[Reply, ...]
    cost: Cost = Cost()
    settled: bool = False
