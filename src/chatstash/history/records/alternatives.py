"""The stored form of an alternative: records that were replaced by others.

The alternatives of a conversation are in one hash, a field for each, whose name tells when it was put aside. The value
names the record before them, then has the records, newest first, each with its length in bytes before it. Scripts have
the same definition, in `scripts/include/alternatives.lua`.
"""

from __future__ import annotations

DEFAULT_TTL = 30 * 86_400
"""Seconds after which the alternatives of a conversation without a ttl expire."""


def alternatives_ttl(ttl: int | None) -> int:
    """Return the seconds until alternatives expire, given the ttl of the conversation."""
    return DEFAULT_TTL if ttl is None else ttl


def records_in(value: bytes) -> list[bytes]:
    """Return the stored records of an alternative, oldest first."""
    at, found = value.index(b"\n") + 1, []
    while at < len(value):
        start = value.index(b":", at) + 1
        end = start + int(value[at : start - 1])
        found.append(value[start:end])
        at = end
    return found[::-1]
