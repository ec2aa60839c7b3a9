"""chatstash: chat conversations in Upstash Redis.

`UpstashRedisChatMessageHistory` is the drop-in successor of langchain-community's class of that name; `Store` and
`Session` are the same without LangChain. Each name is loaded when it is first asked for, LangChain with its class.
"""

from __future__ import annotations

from chatstash import startup as _startup  # noqa: F401 - before all others: see there

# isort: split
from importlib import import_module

from chatstash.version import __version__

# Not imported from typing, which alone takes ten times as long to import as the rest of this module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from chatstash.errors import (
        Applied,
        BadCredentials,
        ChatstashError,
        ChatstashWarning,
        CommandRejected,
        ConcurrentTurn,
        ConnectionFailed,
        ConversationChanged,
        ConversationExists,
        CorruptCheckpoint,
        CorruptItem,
        CorruptRecord,
        DatabaseError,
        GatewayError,
        IdempotencyConflict,
        InsecureConnectionWarning,
        LargeThreadWarning,
        MessageNotFound,
        Outcome,
        OutcomeUnknown,
        OutcomeUnknownAfterBadReply,
        OutcomeUnknownAfterConnectionLoss,
        OutcomeUnknownAfterGatewayError,
        OutcomeUnknownAfterServerError,
        OutcomeUnknownAfterTimeout,
        ProtocolError,
        QuotaExceeded,
        RateLimited,
        ReadOnlyToken,
        RecordTooLarge,
        ReplyGone,
        ReplyNotStored,
        RequestTimeout,
        RequestTooLarge,
        ServerError,
        SessionNotFound,
        StoreClosed,
        ThreadInUse,
        TypeNotAllowed,
        UnreadableCheckpoint,
        UnreadableItem,
        UnreadableRecord,
        UnstorableMessage,
        UnstorableValue,
        UnsupportedCheckpoint,
        UnsupportedItem,
        UnsupportedRecord,
        WrongType,
    )
    from chatstash.history import (
        Alternative,
        AppendResult,
        Budget,
        CacheStats,
        ClearResult,
        Codec,
        ConversationOptions,
        Cost,
        Cursor,
        Delivery,
        Draft,
        DraftText,
        EditResult,
        Erased,
        GuardedTurn,
        MoveResult,
        OnCorrupt,
        OnOperation,
        Operation,
        Options,
        Progress,
        ReadOptions,
        ReadResult,
        Record,
        RecordId,
        ReindexResult,
        RetryPolicy,
        ScanEstimate,
        ScannedSession,
        Session,
        SessionInfo,
        SessionPage,
        StartOn,
        Store,
        StoreStats,
        ToolCalls,
    )
    from chatstash.langchain import (
        ChatHistoryMiddleware as ChatHistoryMiddleware,
    )
    from chatstash.langchain import (
        HistoryFactory,
        MessageHistory,
        MessageReadOptions,
        MessagesDraft,
        MessagesResult,
        MessagesTurn,
        OnWriteError,
        OnWriteFailure,
        TokenCounter,
        UpstashRedisChatMessageHistory,
        with_history,
    )

__all__ = [
    "Alternative",
    "AppendResult",
    "Applied",
    "BadCredentials",
    "Budget",
    "CacheStats",
    "ChatstashError",
    "ChatstashWarning",
    "ClearResult",
    "Codec",
    "CommandRejected",
    "ConcurrentTurn",
    "ConnectionFailed",
    "ConversationChanged",
    "ConversationExists",
    "ConversationOptions",
    "CorruptCheckpoint",
    "CorruptItem",
    "CorruptRecord",
    "Cost",
    "Cursor",
    "DatabaseError",
    "Delivery",
    "Draft",
    "DraftText",
    "EditResult",
    "Erased",
    "GatewayError",
    "GuardedTurn",
    "HistoryFactory",
    "IdempotencyConflict",
    "InsecureConnectionWarning",
    "LargeThreadWarning",
    "MessageHistory",
    "MessageNotFound",
    "MessageReadOptions",
    "MessagesDraft",
    "MessagesResult",
    "MessagesTurn",
    "MoveResult",
    "OnCorrupt",
    "OnOperation",
    "OnWriteError",
    "OnWriteFailure",
    "Operation",
    "Options",
    "Outcome",
    "OutcomeUnknown",
    "OutcomeUnknownAfterBadReply",
    "OutcomeUnknownAfterConnectionLoss",
    "OutcomeUnknownAfterGatewayError",
    "OutcomeUnknownAfterServerError",
    "OutcomeUnknownAfterTimeout",
    "Progress",
    "ProtocolError",
    "QuotaExceeded",
    "RateLimited",
    "ReadOnlyToken",
    "ReadOptions",
    "ReadResult",
    "Record",
    "RecordId",
    "RecordTooLarge",
    "ReindexResult",
    "ReplyGone",
    "ReplyNotStored",
    "RequestTimeout",
    "RequestTooLarge",
    "RetryPolicy",
    "ScanEstimate",
    "ScannedSession",
    "ServerError",
    "Session",
    "SessionInfo",
    "SessionNotFound",
    "SessionPage",
    "StartOn",
    "Store",
    "StoreClosed",
    "StoreStats",
    "ThreadInUse",
    "TokenCounter",
    "ToolCalls",
    "TypeNotAllowed",
    "UnreadableCheckpoint",
    "UnreadableItem",
    "UnreadableRecord",
    "UnstorableMessage",
    "UnstorableValue",
    "UnsupportedCheckpoint",
    "UnsupportedItem",
    "UnsupportedRecord",
    "UpstashRedisChatMessageHistory",
    "WrongType",
    "__version__",
    "with_history",
]

_PACKAGES = ("errors", "history", "langchain")
"""Where the names come from, in the order in which they are loaded; LangChain, which takes 0.3 s, last.

A signal handler that uses a conversation loads nothing here: whoever made the conversation has loaded its package.
"""


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(f"chatstash.{name}")
    if name in __all__:
        for package in map(import_module, [f"chatstash.{package}" for package in _PACKAGES]):
            if name in package.__all__:
                return globals().setdefault(name, getattr(package, name))
    if name == "ChatHistoryMiddleware":  # not in __all__: see chatstash.langchain
        return import_module("chatstash.langchain").ChatHistoryMiddleware
    raise AttributeError(f"module 'chatstash' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
