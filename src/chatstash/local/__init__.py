"""A local Upstash: Upstash's REST API on loopback, in front of an embedded Valkey or any Redis. No Docker.

Shares no code with `chatstash.rest`, so that a mistake in one cannot hide a mistake in the other. Needs the extra
`chatstash[local]`.
"""

from chatstash.local.engine import EngineError
from chatstash.local.faults import Fault, Faults
from chatstash.local.listening import ListenError
from chatstash.local.plans import PLANS, Limits, limits_of
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
