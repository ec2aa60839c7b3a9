"""Upstash's prices, with a date. Pure.

Source: third-party copies, made on `AS_OF`, of https://upstash.com/pricing/redis and
https://upstash.com/docs/redis/overall/billing. Check Upstash's pages before you rely on these figures.
"""

from __future__ import annotations

import datetime as dt

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


COMMAND = 0.20 / 100_000
"""Dollars for a billed command, pay-as-you-go. Each read region bills a write once more."""

STORED_GB, FREE_STORED_GB = 0.25, 1.0
"""Dollars for a gigabyte stored for a month, pay-as-you-go, and how many are free."""

MOVED_GB, FREE_MOVED_GB = 0.03, 200.0
"""Dollars for a gigabyte of bandwidth, pay-as-you-go, and how many a month are free."""

PLAN_COMMANDS, PLAN_STORED_GB, PLAN_MOVED_GB = 500_000, 0.256, 10.0
"""The limits of the free plan: billed commands a month, gigabytes stored, gigabytes of bandwidth a month."""
