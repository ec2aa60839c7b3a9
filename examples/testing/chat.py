"""A chat back end, as small as can be: test_chat.py tests it."""

from __future__ import annotations

from langchain_core.messages import AIMessage, HumanMessage

from chatstash import UpstashRedisChatMessageHistory


def answer(session_id: str, question: str) -> str:
    """Answer a question and keep both. Where Upstash is, the environment says."""
    history = UpstashRedisChatMessageHistory(session_id, ttl=3600, timeout=5)
    reply = f"You have asked {len(history.messages) // 2 + 1} questions."
    history.add_messages([HumanMessage(question), AIMessage(reply)])
    return reply


async def aanswer(session_id: str, question: str) -> str:
    """Do the same without blocking the loop."""
    history = UpstashRedisChatMessageHistory(session_id, ttl=3600, timeout=5)
    reply = f"You have asked {len(await history.aget_messages()) // 2 + 1} questions."
    await history.aadd_messages([HumanMessage(question), AIMessage(reply)])
    return reply
