"""A local Upstash: Upstash's REST API on loopback, in front of an embedded Valkey or any Redis. No Docker.

It shares no code with `chatstash.rest`, so that no mistake in one can hide the same mistake in the other. Requires the
extra `chatstash[local]`.
"""

from chatstash.local.database import PLANS, Limits, limits_of
from chatstash.local.engine import EngineError
from chatstash.local.faults import Fault, Faults
from chatstash.local.http.listening import ListenError
from chatstash.local.server import LocalUpstash
from chatstash.local.stats import LoggedRequest, StatsSnapshot

__all__ = [
    "PLANS",
    "EngineError",
    "Fault",
    "Faults",
    "Limits",
    "ListenError",
    "LocalUpstash",
    "LoggedRequest",
    "StatsSnapshot",
    "limits_of",
]
