"""A draft of a LangChain message."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from functools import reduce
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, message_chunk_to_message

from chatstash.history.draft import Draft
from chatstash.history.session import Session
from chatstash.langchain.write_errors import OnWriteError, report_errors


class MessagesDraft(Draft[BaseMessage]):
    """A draft that takes text and chunks of messages; get one from `UpstashRedisChatMessageHistory.draft`.

    Works as `Draft` does. What is appended is the message that the chunks add up to, with its id, usage and tool calls.

    Args:
        session: The session.
        every: Seconds between two writes, at least 0.5.
        on_write_error: Called with the error of a failed append, as the history's.

    Example:
        ```python
        from langchain_core.language_models import FakeListChatModel
        from chatstash import UpstashRedisChatMessageHistory

        history = UpstashRedisChatMessageHistory("user-42")
        with history.draft() as draft:
            for chunk in FakeListChatModel(responses=["Paris."]).stream("Capital of France?"):
                draft.update(chunk)
        ```
    """

    def __init__(self, session: Session[BaseMessage], every: float, on_write_error: OnWriteError | None = None) -> None:
        super().__init__(session, every)
        self._chunks: list[AIMessageChunk] = []
        self._on_write_error = on_write_error

    def text_of(self, chunk: Any) -> str:
        """Return the text of a chunk, and keep the chunk."""
        if isinstance(chunk, str):
            chunk = AIMessageChunk(content=chunk)
        if not isinstance(chunk, AIMessage):
            raise ValueError(
                f"a draft takes text and chunks of AI messages, not {type(chunk).__name__}; nothing was added"
            )
        if not isinstance(chunk, AIMessageChunk):
            chunk = AIMessageChunk(**chunk.model_dump(exclude={"type"}))
        self._chunks.append(chunk)
        return text_in(chunk)

    def items(self) -> list[BaseMessage]:
        """Return the message that the chunks add up to; none without content and tool calls."""
        if not self._chunks:
            return super().items()
        whole = reduce(operator.add, self._chunks)
        has_calls = bool(whole.tool_calls or whole.invalid_tool_calls or whole.additional_kwargs)
        return [message_chunk_to_message(whole)] if whole.content or has_calls else []

    def finish(self, items: Iterable[BaseMessage] | None = None, *, idempotency_key: str | None = None) -> None:
        """Append the reply as `Draft.finish` does."""
        with report_errors(self._session.key, self._on_write_error):
            super().finish(items, idempotency_key=idempotency_key)

    async def afinish(self, items: Iterable[BaseMessage] | None = None, *, idempotency_key: str | None = None) -> None:
        """Append the reply as `finish` does, without blocking the event loop."""
        with report_errors(self._session.key, self._on_write_error):
            await super().afinish(items, idempotency_key=idempotency_key)


def text_in(message: BaseMessage) -> str:
    """Return the text of a message: its content, or its content blocks of text."""
    content = message.content
    if isinstance(content, str):
        return content
    texts = [block if isinstance(block, str) else block.get("text", "") for block in content]
    return "".join(text for text in texts if isinstance(text, str))
