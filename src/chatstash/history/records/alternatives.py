"""The stored form of an alternative: records that were replaced by others.

The alternatives of a conversation are in one hash, a field for each, whose name tells when it was put aside. The value
names the record before them, then has the records, newest first, each with its length in bytes before it. Scripts have
the same definition, in `scripts/include/alternatives.lua`.
"""

from __future__ import annotations

import re

_LENGTH = re.compile(rb"([0-9]{1,12}):")

DEFAULT_TTL = 30 * 86_400
"""Seconds after which the alternatives of a conversation without a ttl expire."""


def alternatives_ttl(ttl: int | None) -> int:
    """Return the seconds until alternatives expire, given the ttl of the conversation."""
    return DEFAULT_TTL if ttl is None else ttl


def records_in(value: bytes) -> list[bytes]:
    """Return the stored records of an alternative, oldest first; raises ValueError for what is no alternative."""
    at, found = value.index(b"\n") + 1, []
    while at < len(value):
        match = _LENGTH.match(value, at)
        if match is None or match.end() + int(match[1]) > len(value):
            raise ValueError("it is cut off, or no alternative")
        at = match.end() + int(match[1])
        found.append(value[match.end() : at])
    return found[::-1]
