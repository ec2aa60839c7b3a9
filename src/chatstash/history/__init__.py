"""What a stored conversation is: records, keys, operations, sessions and stores. Knows nothing of HTTP or LangChain."""

from chatstash.history.records import Record, RecordId
from chatstash.history.results import AppendResult, ClearResult, Cursor, ReadResult
from chatstash.history.session import Session
from chatstash.history.store import Store
from chatstash.rest.commands import Cost

__all__ = [
    "AppendResult",
    "ClearResult",
    "Cost",
    "Cursor",
    "ReadResult",
    "Record",
    "RecordId",
    "Session",
    "Store",
]
