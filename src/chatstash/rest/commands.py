"""Plain values that go to the database and come back: commands, batches, replies and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Argument: TypeAlias = str | int
Command: TypeAlias = tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class CommandFailure:
    """One command of a batch failed; the text is the server's own."""

    text: str


Reply: TypeAlias = bytes | int | CommandFailure | list["Reply"] | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Commands that travel in one HTTP request.

    Attributes:
        commands: At least one command, in the order in which they run.
        atomic: Whether nothing of other clients may come between them (a transaction).
        writes: Whether any of them changes data: a write whose reply is lost must not simply be sent again.
    """

    commands: tuple[Command, ...]
    atomic: bool = False
    writes: bool = False


@dataclass(frozen=True, slots=True)
class Cost:
    """What an operation cost; costs can be added.

    Attributes:
        requests: HTTP requests, those that failed and were sent again included.
        commands: Commands in the requests that were answered, as Upstash bills them:
            https://upstash.com/docs/redis/overall/pricing
        bytes_sent: Bytes of the HTTP bodies of the requests that were answered.
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


@dataclass(frozen=True, slots=True)
class Replies:
    """The replies to a batch, one for each command, and what getting them cost."""

    values: tuple[Reply, ...]
    cost: Cost = Cost()
