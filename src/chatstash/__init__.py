"""chatstash: chat conversations in Upstash Redis.

`UpstashRedisChatMessageHistory` is the drop-in successor of langchain-community's class of that name; `Store` and
`Session` are the same without LangChain, which is imported only when that class is first asked for.
"""

from chatstash import startup as _startup  # noqa: F401 - before all others: see there

# isort: split
from typing import TYPE_CHECKING, Any

from chatstash.errors import *  # noqa: F403 - errors.__all__ is the curated list
from chatstash.errors import __all__ as _errors
from chatstash.history import (
    AppendResult,
    Budget,
    CacheStats,
    ClearResult,
    Codec,
    ConversationOptions,
    Cost,
    Cursor,
    Delivery,
    GuardedTurn,
    OnCorrupt,
    OnOperation,
    Operation,
    Options,
    ReadOptions,
    ReadResult,
    Record,
    RecordId,
    RetryPolicy,
    Session,
    StartOn,
    Store,
    StoreStats,
    ToolCalls,
)
from chatstash.version import __version__

if TYPE_CHECKING:
    from chatstash.langchain import (
        HistoryFactory,
        MessageHistory,
        MessageReadOptions,
        MessagesResult,
        MessagesTurn,
        OnWriteError,
        OnWriteFailure,
        TokenCounter,
        UpstashRedisChatMessageHistory,
        with_history,
    )

__all__ = [  # noqa: PLE0604 - _errors is a list of strings
    "AppendResult",
    "CacheStats",
    "Budget",
    "ClearResult",
    "Codec",
    "ConversationOptions",
    "Cost",
    "Cursor",
    "Delivery",
    "GuardedTurn",
    "HistoryFactory",
    "MessageHistory",
    "MessageReadOptions",
    "MessagesResult",
    "MessagesTurn",
    "OnCorrupt",
    "OnOperation",
    "OnWriteError",
    "OnWriteFailure",
    "Operation",
    "Options",
    "ReadOptions",
    "ReadResult",
    "Record",
    "RecordId",
    "RetryPolicy",
    "Session",
    "StartOn",
    "Store",
    "StoreStats",
    "TokenCounter",
    "ToolCalls",
    "UpstashRedisChatMessageHistory",
    "__version__",
    "with_history",
    *_errors,
]

_LANGCHAIN = (
    "HistoryFactory",
    "MessageHistory",
    "MessageReadOptions",
    "MessagesResult",
    "MessagesTurn",
    "OnWriteError",
    "OnWriteFailure",
    "TokenCounter",
    "UpstashRedisChatMessageHistory",
    "with_history",
)


def __getattr__(name: str) -> Any:
    if name in _LANGCHAIN:
        from chatstash import langchain  # noqa: PLC0415 - LangChain takes 0.3 s to import

        return getattr(langchain, name)
    raise AttributeError(f"module 'chatstash' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
