"""Upstash's prices, with a date. Pure.

Source: third-party copies, made on `AS_OF`, of https://upstash.com/pricing/redis and
https://upstash.com/docs/redis/overall/billing. Check Upstash's pages before you rely on these figures.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

AS_OF = dt.date(2026, 9, 20)
"""The date of the copies."""

SOURCE = "https://upstash.com/pricing/redis"

GB = 10**9
"""Bytes in a gigabyte. Upstash does not document whether it counts 10^9 or 2^30; 10^9 gives the larger bill."""

NOT_VERIFIED = (
    "whether each region bills storage and bandwidth (assumed: only one does)",
    "whether bandwidth includes headers and TLS (assumed: only HTTP bodies)",
    "fixed plans, the Prod Pack and taxes (assumed: none)",
)


@dataclass(frozen=True, slots=True)
class PayAsYouGo:
    """Prices of the pay-as-you-go plan, in US dollars.

    Attributes:
        command: One billed command. Each read region bills a write once more.
        stored_gb: One gigabyte stored for a month.
        free_stored_gb: Gigabytes stored for free.
        moved_gb: One gigabyte of bandwidth.
        free_moved_gb: Gigabytes of bandwidth a month that are free.
    """

    command: float = 0.20 / 100_000
    stored_gb: float = 0.25
    free_stored_gb: float = 1.0
    moved_gb: float = 0.03
    free_moved_gb: float = 200.0


@dataclass(frozen=True, slots=True)
class Free:
    """The limits of the free plan.

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
