"""The codec of LangChain messages, and the result of reading them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage

from chatstash.history.codec import JsonCodec
from chatstash.history.records.record import Record
from chatstash.history.values.options import StartOn
from chatstash.history.values.results import ReadResult
from chatstash.history.values.selection import ReadOptions
from chatstash.langchain.messages import copied_messages, to_message, to_records, types_of
from chatstash.langchain.tokens import TokenCounter


class MessageCodec(JsonCodec[BaseMessage]):
    """The items of a session are LangChain messages."""

    def to_records(self, items: Iterable[BaseMessage]) -> list[Record]:
        """Return the records of messages."""
        return to_records(items)

    def from_record(self, record: Record, *, key: str = "", position: int = 0) -> BaseMessage:
        """Return the message of a record."""
        return to_message(record, key=key, position=position)

    def from_json(self, parsed: list[Any]) -> list[BaseMessage | None]:
        """Return the message of each parsed record; None where it must be made from the record."""
        return copied_messages(parsed)

    def type_names(self, start_on: StartOn) -> StartOn:
        """Return the names of message types; a class stands for all types read as one of its instances."""
        return types_of(start_on)


MESSAGES = MessageCodec()


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


@dataclass(frozen=True)
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
