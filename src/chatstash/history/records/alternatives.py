"""The stored form of an alternative: records that were replaced by others.

The alternatives of a conversation are in one hash, a field for each. Its name begins with the time when it was put
aside, in microseconds since the epoch, 13 hexadecimal digits, and ends with a random part. The value names the record
before them, then has the records, newest first, each with its length in bytes before it. Scripts have the same
definition, in `scripts/include/alternatives.lua`.
"""

from __future__ import annotations

import os
import time

from chatstash.rest.plan import MAX_TTL

DEFAULT_TTL = 30 * 86_400
"""Seconds after which the alternatives of a conversation without a ttl expire."""


def alternatives_ttl(ttl: int | None) -> int:
    """Return the seconds until alternatives expire, given the ttl of the conversation."""
    return min(DEFAULT_TTL if ttl is None else ttl, MAX_TTL)


def new_name() -> str:
    """Return a new name for an alternative that is put aside now."""
    return f"{time.time_ns() // 1000:013x}-{os.urandom(4).hex()}"


def time_of(name: str) -> int:
    """Return when an alternative was put aside, in milliseconds since the epoch."""
    return int(name.partition("-")[0], 16) // 1000


def records_in(value: bytes) -> list[bytes]:
    """Return the stored records of an alternative, oldest first."""
    at, found = value.index(b"\n") + 1, []
    while at < len(value):
        start = value.index(b":", at) + 1
        end = start + int(value[at : start - 1])
        found.append(value[start:end])
        at = end
    return found[::-1]
