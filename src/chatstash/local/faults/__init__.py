"""Faults on demand: what goes wrong, for which requests, and the requests that a fault delays."""

from chatstash.local.faults.delayed import DelayedRequests
from chatstash.local.faults.fault import Fault, FaultKind
from chatstash.local.faults.schedule import Faults

__all__ = ["DelayedRequests", "Fault", "FaultKind", "Faults"]
