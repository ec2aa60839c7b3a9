"""`ChatHistoryMiddleware`: memory for an agent of LangChain 1. The only room that imports langchain itself."""

from importlib.metadata import version
from re import findall

_OLDEST = [1, 2, 18]
"""Before, LangChain put the whole state of an agent into the checkpoint of each tool call."""

if [int(part) for part in findall(r"\d+", version("langchain"))[:3]] < _OLDEST:
    raise ImportError(f"langchain {version('langchain')} is installed")

from chatstash.langchain.middleware.chat_history import ChatHistoryMiddleware  # noqa: E402 - after the check

__all__ = ["ChatHistoryMiddleware"]
