"""Which LangChain messages to read, and the result of reading them."""

from __future__ import annotations

from langchain_core.messages import BaseMessage

from chatstash.history.values.results import ReadResult
from chatstash.history.values.selection import ReadOptions
from chatstash.langchain.tokens import TokenCounter


class MessageReadOptions(ReadOptions, total=False):
    """Which messages a read returns, as keyword arguments: those of `ReadOptions`, and a token budget.

    Attributes:
        max_tokens: Return the newest messages that fit this many tokens, the system message's included; none if the
            newest alone does not fit. Fetches at most about twice as many. None for the history's budget, unless
            `last` or `before` is given.
        token_counter: Counts tokens, as the history's does; None for the history's. Runs in the caller's thread, also
            in an event loop.
    """

    max_tokens: int | None
    token_counter: TokenCounter | None


class MessagesResult(ReadResult[BaseMessage]):
    """The result of reading messages; `records` holds the record of each, with its id and time."""

    @property
    def messages(self) -> list[BaseMessage]:
        """The messages, oldest first."""
        return self.items

    @classmethod
    def of(cls, result: ReadResult[BaseMessage]) -> MessagesResult:
        """Return the result of a session of messages as one of these."""
        return cls(**vars(result))
