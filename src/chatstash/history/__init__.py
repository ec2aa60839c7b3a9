"""Stores, sessions and their conversations. Knows nothing of HTTP or LangChain.

No module here does I/O, except for logging, the clock and reading the package's scripts: operations are generators that
`chatstash.rest` runs.
"""

from typing import TYPE_CHECKING, Any

from chatstash.history.cache.cache import CacheStats
from chatstash.history.codec import Codec
from chatstash.history.guarded_turn import GuardedTurn
from chatstash.history.records.record import Record, RecordId
from chatstash.history.session import Session
from chatstash.history.store import Store
from chatstash.history.tool_calls.view import ToolCalls
from chatstash.history.values.options import ConversationOptions, Delivery, OnCorrupt, Options, StartOn
from chatstash.history.values.results import (
    Alternative,
    AppendResult,
    ClearResult,
    Cursor,
    DraftText,
    EditResult,
    ReadResult,
)
from chatstash.history.values.selection import ReadOptions
from chatstash.history.values.sessions import (
    Erased,
    MoveResult,
    Progress,
    ReindexResult,
    ScanEstimate,
    ScannedSession,
    SessionInfo,
    SessionPage,
)
from chatstash.rest.commands import Cost
from chatstash.rest.limits import Budget, RetryPolicy
from chatstash.rest.metrics import OnOperation, Operation, StoreStats

if TYPE_CHECKING:
    from chatstash.history.draft import Draft

__all__ = [
    "Alternative",
    "AppendResult",
    "Budget",
    "CacheStats",
    "ClearResult",
    "Codec",
    "ConversationOptions",
    "Cost",
    "Cursor",
    "Delivery",
    "Draft",
    "DraftText",
    "EditResult",
    "Erased",
    "GuardedTurn",
    "MoveResult",
    "OnCorrupt",
    "OnOperation",
    "Operation",
    "Options",
    "Progress",
    "ReadOptions",
    "ReadResult",
    "Record",
    "RecordId",
    "ReindexResult",
    "RetryPolicy",
    "ScanEstimate",
    "ScannedSession",
    "Session",
    "SessionInfo",
    "SessionPage",
    "StartOn",
    "Store",
    "StoreStats",
    "ToolCalls",
]


def __getattr__(name: str) -> Any:
    if name == "Draft":
        from chatstash.history.draft import Draft  # noqa: PLC0415 - few processes write drafts

        return Draft
    raise AttributeError(f"module 'chatstash.history' has no attribute {name!r}")
