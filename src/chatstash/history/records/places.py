"""Where batches stand that may have duplicates, as noted at a companion key of the conversation."""

from __future__ import annotations

import re
from typing import NamedTuple

from chatstash.history.records.keys import companion_key

DIGEST_LENGTH = 8
"""How many characters of a digest identify the record before a batch."""

_NOTED = re.compile(r"(\S{16}):(-?[0-9]+):([0-9a-f]*)")


def places_key(key: str) -> str:
    """Return the key at which the places of a conversation's batches are noted."""
    return companion_key("places", key)


class Place(NamedTuple):
    """Where a batch stands.

    Attributes:
        first: The place of its first record, 0 for the oldest record of all. Negative where older records, and its own
            first ones, were trimmed.
        older: The beginning of the SHA-1 of the identity of the record before it; empty where there is none.
    """

    first: int
    older: str


def places_of(noted: object) -> dict[str, Place]:
    """Return the noted place of each batch; none where nothing was noted."""
    if not isinstance(noted, bytes):
        return {}
    found = (_NOTED.fullmatch(word) for word in noted.decode("ascii", "replace").split())
    return {entry[1]: Place(int(entry[2]), entry[3]) for entry in found if entry}
