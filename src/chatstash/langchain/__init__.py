"""chatstash for LangChain: `UpstashRedisChatMessageHistory`."""

from chatstash.langchain.history import UpstashRedisChatMessageHistory
from chatstash.langchain.results import MessagesResult
from chatstash.langchain.turn import MessagesTurn

__all__ = ["MessagesResult", "MessagesTurn", "UpstashRedisChatMessageHistory"]
