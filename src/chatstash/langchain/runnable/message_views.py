"""A view of a message that ignores how front ends and middleware alter it, for comparison. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, ChatMessage

from chatstash.langchain.runnable.tool_messages import call_ids

_ANSWERS = ("ai", "tool", "function")


class MessageView(NamedTuple):
    """The compared parts of a message.

    Attributes:
        role: Its type, in one form for messages and chunks; of a chat message, with its role.
        id: Its id, or None.
        text: Its text, whatever form and white space its content has.
        calls: The ids and names of the tool calls it makes, or the id of the call it answers.
    """

    role: str
    id: str | None
    text: str
    calls: tuple[Any, ...]

    @property
    def is_answer(self) -> bool:
        """Whether it comes from a model or a tool."""
        return self.role in _ANSWERS

    @property
    def is_visible(self) -> bool:
        """Whether a front end that shows only the user's and the model's texts would show it."""
        return self.role not in ("system", "tool", "function") and not self.calls

    @property
    def marks(self) -> tuple[Any, ...]:
        """Values to index views by: two views that match share at least one."""
        return (self.id or self.text, self.text)

    def matches(self, other: MessageView) -> bool:
        """Tell whether two views are of the same message: same id, or same role, text and calls."""
        if self.id and self.id == other.id:
            return True
        if self.role != other.role or self.text != other.text:
            return False
        # A front end shows the text of an answer, without its calls.
        is_text = self.role == "ai" and bool(self.text) and not (self.calls and other.calls)
        return self.calls == other.calls or is_text


def views(messages: Sequence[BaseMessage]) -> list[MessageView]:
    """Return the views of messages."""
    return [MessageView(_role(message), message.id, _text(message), _calls(message)) for message in messages]


def _role(message: BaseMessage) -> str:
    kind = message.type.removesuffix("MessageChunk").lower()
    return f"chat {message.role}" if isinstance(message, ChatMessage) else kind


def _calls(message: BaseMessage) -> tuple[Any, ...]:
    if isinstance(message, AIMessage):
        return tuple((call["id"], call["name"]) for call in message.tool_calls)
    return tuple(call_ids(message))


def _text(message: BaseMessage) -> str:
    if isinstance(message, AIMessage) or isinstance(message.content, str):
        return " ".join(text_of(message).split())
    texts = [block if isinstance(block, str) else block.get("text") for block in message.content]
    is_text = [isinstance(block, str) or block.get("type") == "text" for block in message.content]
    return " ".join("".join(map(str, texts)).split()) if all(is_text) else repr(message.content)


def text_of(message: BaseMessage) -> str:
    """Return the text of a message."""
    # A method in langchain-core 0.3, a property that is a str since 1.0.
    text: Any = message.text
    return str(text) if isinstance(text, str) else str(text())
