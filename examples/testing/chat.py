"""A minimal chat back end, tested by test_chat.py."""

from __future__ import annotations

from langchain_core.messages import AIMessage, HumanMessage

from chatstash import UpstashRedisChatMessageHistory


def answer(session_id: str, question: str) -> str:
    """Answer a question and store both; the environment variables name the database."""
    history = UpstashRedisChatMessageHistory(session_id, ttl=3600, timeout=5)
    reply = f"You have asked {len(history.messages) // 2 + 1} questions."
    history.add_messages([HumanMessage(question), AIMessage(reply)])
    return reply


async def aanswer(session_id: str, question: str) -> str:
    """Do the same without blocking the event loop."""
    history = UpstashRedisChatMessageHistory(session_id, ttl=3600, timeout=5)
    reply = f"You have asked {len(await history.aget_messages()) // 2 + 1} questions."
    await history.aadd_messages([HumanMessage(question), AIMessage(reply)])
    return reply
