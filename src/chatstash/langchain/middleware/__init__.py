"""`ChatHistoryMiddleware`: memory for an agent of LangChain 1. The only room that imports langchain itself."""

from chatstash.langchain.middleware.chat_history import ChatHistoryMiddleware

__all__ = ["ChatHistoryMiddleware"]
