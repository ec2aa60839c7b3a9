"""What Upstash asks for: one dated table. Pure.

From https://upstash.com/pricing/redis and https://upstash.com/docs/redis/overall/billing, as `AS_OF` says. Both were
read in copies kept by others, not at Upstash: look there before relying on it.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

AS_OF = dt.date(2026, 9, 20)
"""When the copy was made from which the table is."""

SOURCE = "https://upstash.com/pricing/redis"

GB = 10**9
"""Bytes. Whether Upstash counts 10^9 or 2^30 is not documented; this is the larger bill."""

NOT_VERIFIED = (
    "whether storage and bandwidth are counted once more for each further region (here: once)",
    "whether bandwidth includes headers and TLS (here: HTTP bodies alone)",
    "the fixed plans, the Prod Pack and taxes (here: none)",
)


@dataclass(frozen=True, slots=True)
class PayAsYouGo:
    """The plan without a monthly price, in US dollars.

    Attributes:
        command: One billed command. A write is billed once, and once more for each read region.
        stored_gb: One gigabyte stored for a month.
        free_stored_gb: Gigabytes of these that are free.
        moved_gb: One gigabyte of bandwidth.
        free_moved_gb: Gigabytes of these that are free each month.
    """

    command: float = 0.20 / 100_000
    stored_gb: float = 0.25
    free_stored_gb: float = 1.0
    moved_gb: float = 0.03
    free_moved_gb: float = 200.0


@dataclass(frozen=True, slots=True)
class Free:
    """What the free plan allows.

    Attributes:
        commands: Billed commands a month.
        stored_gb: Gigabytes stored.
        moved_gb: Gigabytes of bandwidth a month.
    """

    commands: int = 500_000
    stored_gb: float = 0.256
    moved_gb: float = 10.0


PAY_AS_YOU_GO = PayAsYouGo()
FREE = Free()
