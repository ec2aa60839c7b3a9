"""Counters and the log of requests, with secrets masked."""

from chatstash.local.stats.counters import Counted, Stats, StatsSnapshot
from chatstash.local.stats.log import LoggedRequest
from chatstash.local.stats.masking import Masker

__all__ = ["Counted", "LoggedRequest", "Masker", "Stats", "StatsSnapshot"]
