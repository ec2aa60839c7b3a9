"""Which faults there are, and how likely each is."""

from __future__ import annotations

from chatstash.local import Fault, LocalUpstash
from tests.conftest import command

LATEST = 0.3
"""Seconds by which these faults make a request late at most, but for those that are held."""

FAULTS = (
    Fault("delay", probability=0.03, jitter=0.02),
    Fault("reply_lost", probability=0.015),
    Fault("request_lost", probability=0.015),
    Fault("applied_late", probability=0.02, jitter=LATEST),
    Fault("reset", probability=0.008),
    Fault("reset", probability=0.008, applied=True),
    Fault("truncated", probability=0.015),
    Fault("unavailable", probability=0.008),
    Fault("unavailable", probability=0.008, applied=True),
    Fault("server_error", probability=0.008),
    Fault("server_error", probability=0.008, applied=True),
    Fault("throttled", probability=0.01),
    Fault("no_answer", probability=0.002),
    Fault("no_answer", probability=0.002, applied=True),
)

HELD = (
    Fault("applied_late", held=True, probability=0.015, matching="LPUSH"),
    Fault("applied_late", held=True, probability=0.015, matching="EVAL"),
)
"""Requests that wait until they are released; those of appends, settlements and repairs."""

REPLAYED = (Fault("replayed", probability=0.01), Fault("replayed", probability=0.01, jitter=LATEST))
"""Requests that a proxy repeats, at once and soon after."""


def late(seconds: float) -> tuple[Fault, ...]:
    """Return the fault of requests that are applied up to so many seconds late."""
    return tuple(
        Fault("applied_late", probability=0.005, jitter=seconds, matching=command) for command in ("LPUSH", "EVAL")
    )


def let_late_ones_arrive(upstash: LocalUpstash) -> None:
    """Wait until what is late by `LATEST` at most was applied: a request that waits as long is answered after it."""
    upstash.faults.next("delay", seconds=LATEST)
    command(upstash, "PING")
    command(upstash, "PING")
