"""The types of message that a record may name. Pure.

They are those that langchain-core's `messages_from_dict` reads, and LangChain.js's own name for a chat message. What
is not among them makes a conversation unreadable to both.
"""

from __future__ import annotations

AI_TYPES = frozenset({"ai", "AIMessageChunk"})
"""What a model said, and with which tools it asked for."""

TOOL_TYPES = frozenset({"tool", "ToolMessageChunk"})
"""The results of tools."""

SYSTEM_TYPES = frozenset({"system", "SystemMessageChunk"})
"""What a model is told to be."""

HUMAN_TYPES = frozenset({"human", "HumanMessageChunk"})
"""What people said; in Anthropic's form also the results of tools, among its content blocks."""

FUNCTION_TYPES = frozenset({"function", "FunctionMessageChunk"})
"""The results of functions, as OpenAI's oldest form has them."""

JS_CHAT = "generic"
"""What LangChain.js calls the type of a chat message."""

KNOWN_TYPES = (
    AI_TYPES
    | TOOL_TYPES
    | SYSTEM_TYPES
    | HUMAN_TYPES
    | FUNCTION_TYPES
    | {"chat", "remove", "ChatMessageChunk", JS_CHAT}
)  # fmt: skip
"""Every type that can be read as a message."""
