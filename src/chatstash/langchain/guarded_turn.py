"""A guarded turn of LangChain messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from chatstash.errors import ConcurrentTurn
from chatstash.history.conversation import Conversation
from chatstash.history.guarded_turn import GuardedTurn
from chatstash.history.operations.read import Contents
from chatstash.history.records.record import Record
from chatstash.history.selection import Selection
from chatstash.langchain.messages import to_records
from chatstash.langchain.results import MessagesResult, messages_result, readable_messages
from chatstash.langchain.write_errors import OnWriteError, write_watched


class MessagesTurn(GuardedTurn[BaseMessage, MessagesResult]):
    """A guarded turn of a history, for `with` or `async with`; get one from `UpstashRedisChatMessageHistory.turn`.

    Entering reads the conversation, with one request. Leaving adds what was given to `add_messages`, with one request,
    if nobody else changed the conversation meanwhile; else it raises `ConcurrentTurn`, and nothing is added. Where the
    block raises, nothing is added either. Used once.

    Args:
        conversation: The conversation.
        on_write_error: Called with the error of an append, as the history's own; see there.
        wanted: Which messages are read; None for what the conversation's options say.

    Attributes:
        result: What reading gave.
        appended: What the append did, once the turn is left.

    Raises:
        ConcurrentTurn: On leaving: others added messages meanwhile, or cleared; has what they added.

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
        self, conversation: Conversation, on_write_error: OnWriteError | None = None, wanted: Selection | None = None
    ) -> None:
        super().__init__(conversation, wanted)
        self._on_write_error = on_write_error

    @property
    def messages(self) -> list[BaseMessage]:
        """The messages that were read, oldest first, and those added since."""
        return [*self.result.messages, *self._items]

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add messages, to be stored on leaving; no request.

        Raises:
            UnstorableMessage: One is no message or holds what JSON cannot.
        """
        self._add(messages)

    def add_user_message(self, message: HumanMessage | str) -> None:
        """Add a message of the user, given as a message or its text."""
        self._add([HumanMessage(content=message) if isinstance(message, str) else message])

    def add_ai_message(self, message: AIMessage | str) -> None:
        """Add a message of the AI, given as a message or its text."""
        self._add([AIMessage(content=message) if isinstance(message, str) else message])

    def _result_of(self, contents: Contents) -> MessagesResult:
        return messages_result(self._conversation, contents)

    def _records_of(self, items: list[BaseMessage]) -> list[Record]:
        return to_records(items)

    @contextmanager
    def _appending(self) -> Iterator[None]:
        try:
            with write_watched(self._conversation.key, self._on_write_error):
                yield
        except ConcurrentTurn as error:
            error.messages = readable_messages(error.records, error.key)
            raise
