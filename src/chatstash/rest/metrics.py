"""Metrics of one operation, and of all operations of a store. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias


class Operation(NamedTuple):
    """Metrics of one finished operation. Its costs are counted as in `Cost`.

    Attributes:
        name: `read`, `count`, `append`, `guarded_append`, `stored_for`, `clear` or `check_outcome`; or one of the
            doctor's: `list`, `examine`, `expiries`, `repair`, `expire`.
        key: The conversation's key; empty for an operation on several conversations.
        requests: HTTP requests, including failed ones and retries.
        commands: Commands billed by Upstash in one region.
        bytes_sent: Bytes of the HTTP bodies of answered requests.
        bytes_received: Bytes of the HTTP bodies of their replies.
        retries: Retries of requests that failed.
        seconds: Duration in seconds, including pauses and retries.
        error: The error it raised, or None.
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
"""A function that is called after each operation."""


_NONE: Mapping[str, int] = {}


class StoreStats(NamedTuple):
    """Totals of all operations of a store in this process. The units are those of `Operation`.

    Attributes:
        operations: Number of operations, including failed ones, by name.
        errors: Number of failed operations, by the name of the error's class.
        requests: HTTP requests.
        commands: Commands billed by Upstash.
        bytes_sent: Bytes of the HTTP bodies of answered requests.
        bytes_received: Bytes of the HTTP bodies of their replies.
        retries: Retries of requests that failed.
        seconds: Sum of the durations in seconds; concurrent operations count individually.
    """

    operations: Mapping[str, int] = _NONE
    errors: Mapping[str, int] = _NONE
    requests: int = 0
    commands: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    retries: int = 0
    seconds: float = 0.0

    def plus(self, operation: Operation) -> StoreStats:
        """Return these totals plus one operation."""
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
