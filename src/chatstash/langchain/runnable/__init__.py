"""`with_history`: a runnable that reads a conversation, answers, and appends the new messages."""

from chatstash.langchain.runnable.runnable_with_history import with_history
from chatstash.langchain.runnable.session_config import HistoryFactory, MessageHistory

__all__ = ["HistoryFactory", "MessageHistory", "with_history"]
