"""What an operation, and all operations of a store, came to. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias


class Operation(NamedTuple):
    """One operation that is over: what it was, what it cost and how it ended.

    Attributes:
        name: `read`, `count`, `append`, `guarded_append`, `stored_for`, `clear` or `check_outcome`; or one of the
            doctor's: `list`, `examine`, `expiries`, `repair`, `expire`.
        key: The conversation's key; empty where it is of several.
        requests: HTTP requests sent or tried, those that failed included.
        commands: Commands of the requests that were answered, and what ran within scripts, as Upstash bills them in one
            region. What a request ran whose reply was lost, and what a script ran that failed, is not known.
        bytes_sent: Bytes of the HTTP bodies of the requests that were answered, refused ones included.
        bytes_received: Bytes of the HTTP bodies of their replies.
        retries: How often a request was sent again because one before it had failed.
        seconds: How long it took, pauses and retries included.
        error: What it raised, or None.
    """

    name: str
    key: str
    requests: int
    commands: int
    bytes_sent: int
    bytes_received: int
    retries: int
    seconds: float
    error: BaseException | None = None


OnOperation: TypeAlias = Callable[[Operation], None]
"""What is called after each operation."""


@dataclass(frozen=True, slots=True)
class StoreStats:
    """What all operations of a store, in this process, came to so far.

    Attributes:
        operations: How many were made, by name; those that failed included.
        errors: How many failed, by the name of the error's class.
        requests: HTTP requests sent or tried, those that failed included.
        commands: Commands as Upstash bills them in one region, as of `Operation`.
        bytes_sent: Bytes of the HTTP bodies of the requests that were answered.
        bytes_received: Bytes of the HTTP bodies of their replies.
        retries: How often a request was sent again because one before it had failed.
        seconds: How long all took together; those at the same time count each.
    """

    operations: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)
    requests: int = 0
    commands: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    retries: int = 0
    seconds: float = 0.0

    def plus(self, operation: Operation) -> StoreStats:
        """Return these totals with one operation more."""
        error = operation.error
        return StoreStats(
            operations=_one_more(self.operations, operation.name),
            errors=self.errors if error is None else _one_more(self.errors, type(error).__name__),
            requests=self.requests + operation.requests,
            commands=self.commands + operation.commands,
            bytes_sent=self.bytes_sent + operation.bytes_sent,
            bytes_received=self.bytes_received + operation.bytes_received,
            retries=self.retries + operation.retries,
            seconds=self.seconds + operation.seconds,
        )


def _one_more(counts: Mapping[str, int], name: str) -> Mapping[str, int]:
    return {**counts, name: counts.get(name, 0) + 1}
