"""chatstash for LangChain: the history class, `with_history` for chains, and `ChatHistoryMiddleware` for agents.

`ChatHistoryMiddleware` is not in `__all__`, because it needs LangChain 1 and `import *` must work without.
"""

from typing import TYPE_CHECKING, Any

from chatstash.langchain.guarded_turn import MessagesTurn
from chatstash.langchain.history import UpstashRedisChatMessageHistory
from chatstash.langchain.results import MessageReadOptions, MessagesResult
from chatstash.langchain.tokens import TokenCounter
from chatstash.langchain.write_errors import OnWriteError, OnWriteFailure

if TYPE_CHECKING:
    from chatstash.langchain.draft import MessagesDraft
    from chatstash.langchain.middleware import ChatHistoryMiddleware as ChatHistoryMiddleware
    from chatstash.langchain.runnable import HistoryFactory, MessageHistory, with_history

__all__ = [
    "HistoryFactory",
    "MessageHistory",
    "MessageReadOptions",
    "MessagesDraft",
    "MessagesResult",
    "MessagesTurn",
    "OnWriteError",
    "OnWriteFailure",
    "TokenCounter",
    "UpstashRedisChatMessageHistory",
    "with_history",
]


def __getattr__(name: str) -> Any:
    if name in ("HistoryFactory", "MessageHistory", "with_history"):
        from chatstash.langchain import runnable  # noqa: PLC0415 - the class alone needs no runnables

        return getattr(runnable, name)
    if name == "MessagesDraft":
        from chatstash.langchain.draft import MessagesDraft  # noqa: PLC0415 - few processes write drafts

        return MessagesDraft
    if name == "ChatHistoryMiddleware":
        try:
            from chatstash.langchain import middleware  # noqa: PLC0415 - it imports langchain, which is optional
        except ImportError as error:
            raise ImportError(
                f"ChatHistoryMiddleware needs LangChain 1.2.18 or newer: pip install 'langchain>=1.2.18' ({error})."
            ) from error
        return middleware.ChatHistoryMiddleware
    raise AttributeError(f"module 'chatstash.langchain' has no attribute {name!r}")
