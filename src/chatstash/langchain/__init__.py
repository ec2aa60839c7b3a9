"""chatstash for LangChain: `UpstashRedisChatMessageHistory`."""

from chatstash.langchain.history import MessagesResult, UpstashRedisChatMessageHistory

__all__ = ["MessagesResult", "UpstashRedisChatMessageHistory"]
