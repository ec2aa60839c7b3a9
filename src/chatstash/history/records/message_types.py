"""The types of message that a record may name.

They are the types that langchain-core's `messages_from_dict` reads, and LangChain.js's name for a chat message. Any
other type makes a conversation unreadable to both.
"""

from __future__ import annotations

AI_TYPES = frozenset({"ai", "AIMessageChunk"})
"""A model's replies and tool calls."""

TOOL_TYPES = frozenset({"tool", "ToolMessageChunk"})
"""Results of tools."""

SYSTEM_TYPES = frozenset({"system", "SystemMessageChunk"})
"""Instructions to a model."""

HUMAN_TYPES = frozenset({"human", "HumanMessageChunk"})
"""Messages of people. In Anthropic's format, their content blocks may also hold results of tools."""

FUNCTION_TYPES = frozenset({"function", "FunctionMessageChunk"})
"""Results of functions, in OpenAI's oldest format."""

JS_CHAT = "generic"
"""LangChain.js's type of a chat message."""

KNOWN_TYPES = (
    AI_TYPES
    | TOOL_TYPES
    | SYSTEM_TYPES
    | HUMAN_TYPES
    | FUNCTION_TYPES
    | {"chat", "remove", "ChatMessageChunk", JS_CHAT}
)  # fmt: skip
"""Every type that can be read as a message."""
