"""The marker of an append: set in the same step, it tells for which records the append was applied.

Its value is `<digest>:<batch>`; or `void:<batch>` where the append was called off, so that it does nothing if it still
arrives. Another append with the same idempotency key is another batch, and goes ahead.
"""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

from chatstash.history.records.keys import companion_key

VOID = "void:"


class Marker(NamedTuple):
    """The marker that an append sets.

    Attributes:
        key: Where it is stored.
        digest: SHA-256 of the records without their ids; empty where the append has no idempotency key.
        batch: What the ids of the records begin with.
        ttl: Seconds until it expires.
    """

    key: str
    digest: str
    batch: str
    ttl: int

    @property
    def value(self) -> str:
        """What is stored."""
        return f"{self.digest}:{self.batch}"


class MarkerValue(NamedTuple):
    """What a marker holds.

    Attributes:
        digest: The digest of the append that set it.
        batch: Its batch.
        is_cancelled: Whether the append was called off.
    """

    digest: str
    batch: str
    is_cancelled: bool


def parse_marker(value: bytes) -> MarkerValue:
    """Return what the value of a marker says."""
    text = value.decode("ascii", "replace")
    digest, _, batch = text.partition(":")
    return MarkerValue(digest, batch, text.startswith(VOID))


def marker_key(key: str, idempotency_key: str) -> str:
    """Return the key of the marker that an append with this idempotency key sets in the conversation at `key`."""
    return companion_key("idempotency", key, sha256(idempotency_key.encode()).hexdigest())
