"""A guarded turn of LangChain messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from chatstash.history.guarded_turn import GuardedTurn
from chatstash.history.records.message_id import MessageId
from chatstash.history.session import Session
from chatstash.history.values.selection import Selection
from chatstash.langchain.results import MessagesResult
from chatstash.langchain.write_errors import OnWriteError, report_errors


class MessagesTurn(GuardedTurn[BaseMessage]):
    """A guarded turn with LangChain's names; get one from `UpstashRedisChatMessageHistory.guarded_turn`.

    Works as `GuardedTurn` does.

    Args:
        session: The session.
        selection: The messages to read.
        on_write_error: Called with the error of a failed append, as the history's.
        replacing: The message to replace; None to append.

    Example:
        ```python
        from chatstash import UpstashRedisChatMessageHistory

        history = UpstashRedisChatMessageHistory("user-42")
        with history.guarded_turn() as turn:
            turn.add_user_message("Hello")
            turn.add_ai_message(f"That was message {len(turn.messages)}.")
        ```
    """

    def __init__(
        self,
        session: Session[BaseMessage],
        selection: Selection,
        on_write_error: OnWriteError | None = None,
        replacing: MessageId | None = None,
    ) -> None:
        super().__init__(session, selection, replacing)
        self._on_write_error = on_write_error

    @property
    def result(self) -> MessagesResult:
        """The result of the read, as `GuardedTurn.result`."""
        return MessagesResult.of(super().result)

    @property
    def messages(self) -> list[BaseMessage]:
        """The messages that were read, oldest first, followed by those added since."""
        return self.items

    def add_messages(self, messages: Sequence[BaseMessage], *, metadata: Mapping[str, Any] | None = None) -> None:
        """Add messages, as `append` does."""
        self.append(messages, metadata=metadata)

    def add_user_message(self, message: HumanMessage | str) -> None:
        """Add a message of the user, given as a message or its text."""
        self.append([HumanMessage(content=message) if isinstance(message, str) else message])

    def add_ai_message(self, message: AIMessage | str) -> None:
        """Add a message of the AI, given as a message or its text."""
        self.append([AIMessage(content=message) if isinstance(message, str) else message])

    @contextmanager
    def _appending(self) -> Iterator[None]:
        with report_errors(self._session.key, self._on_write_error), super()._appending():
            yield
