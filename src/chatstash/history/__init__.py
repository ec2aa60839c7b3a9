"""What a stored conversation is: records, keys, operations, sessions and stores. Knows nothing of HTTP or LangChain."""

from chatstash.history.cache.cache import CacheStats
from chatstash.history.options import Delivery, OnCorrupt, OptionChanges, Options
from chatstash.history.records.record import Record, RecordId
from chatstash.history.results import AppendResult, ClearResult, Cursor, ReadResult
from chatstash.history.session import Session, Turn
from chatstash.history.store import Store, stats
from chatstash.history.tool_calls.view import ToolCalls
from chatstash.rest.commands import Cost
from chatstash.rest.limits import Budget, RetryPolicy
from chatstash.rest.metrics import OnOperation, Operation, StoreStats

__all__ = [
    "AppendResult",
    "Budget",
    "CacheStats",
    "ClearResult",
    "Cost",
    "Cursor",
    "Delivery",
    "OnCorrupt",
    "OnOperation",
    "Operation",
    "OptionChanges",
    "Options",
    "ReadResult",
    "Record",
    "RecordId",
    "RetryPolicy",
    "Session",
    "Store",
    "StoreStats",
    "ToolCalls",
    "Turn",
    "stats",
]
