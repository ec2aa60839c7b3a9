"""What reading a conversation through LangChain's interface gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from langchain_core.messages import BaseMessage

from chatstash.errors import CorruptRecord, UnreadableRecord
from chatstash.history.conversation import Conversation
from chatstash.history.operations.read import Contents, Entries
from chatstash.history.records.record import Entry, Record
from chatstash.history.results import ReadResult
from chatstash.history.unreadable import kept_of, mended, placeholder_record
from chatstash.langchain.messages import copied_messages, to_message


@dataclass(frozen=True)
class MessagesResult(ReadResult):
    """Messages of a conversation, their records, and what reading them cost.

    Attributes:
        messages: The messages, oldest first; `records` holds the record of each, with its id and time.
    """

    messages: list[BaseMessage]


class _Both(NamedTuple):
    """A record and its message."""

    record: Record
    message: BaseMessage


def messages_of(conversation: Conversation, contents: Contents) -> list[BaseMessage]:
    """Return the messages of what was read, without their records, in half the time; raises as `messages_result`."""
    entries = contents.entries
    parsed = entries.take_parsed() if isinstance(entries, Entries) else None
    made = [None] * len(entries) if parsed is None else copied_messages(parsed)
    try:
        return [_message(entries[place]) if message is None else message for place, message in enumerate(made)]
    except UnreadableRecord:
        return messages_result(conversation, contents).messages


def _message(entry: Entry) -> BaseMessage:
    if isinstance(entry, UnreadableRecord):
        raise entry
    return to_message(entry)


def messages_result(conversation: Conversation, contents: Contents) -> MessagesResult:
    """Return the messages of what was read, with the conversation's `on_corrupt` applied.

    Raises:
        UnreadableRecord: A record is no message, and `on_corrupt` is `raise`; has the messages that can be read.
    """
    entries = [_both(entry, conversation.key, position) for position, entry in enumerate(contents.entries)]
    try:
        kept = kept_of(entries, conversation.options.on_corrupt, _placeholder)
    except UnreadableRecord as error:
        readable = [entry for entry in entries if isinstance(entry, _Both)]
        error.records = [entry.record for entry in readable]
        error.messages = [entry.message for entry in readable]
        raise
    if any(isinstance(entry, UnreadableRecord) for entry in entries):
        kept = _mended(kept, contents)
    return MessagesResult(
        [both.record for both in kept],
        contents.cursor,
        contents.omitted,
        contents.cost,
        [both.message for both in kept],
    )


def _mended(kept: list[_Both], contents: Contents) -> list[_Both]:
    known = {id(both.record): both for both in kept}
    records = mended([both.record for both in kept], contents)
    return [known.get(id(record)) or _Both(record, to_message(record)) for record in records]


def readable_messages(records: Sequence[Record], key: str) -> list[BaseMessage]:
    """Return the messages of records, passing over those that are none."""
    entries = [_both(record, key, position) for position, record in enumerate(records)]
    return [entry.message for entry in entries if isinstance(entry, _Both)]


def _both(entry: Entry, key: str, position: int) -> _Both | UnreadableRecord:
    if isinstance(entry, UnreadableRecord):
        return entry
    try:
        return _Both(entry, to_message(entry, key=key, position=position))
    except CorruptRecord as error:
        return error


def _placeholder(error: UnreadableRecord) -> _Both:
    record = placeholder_record(error)
    return _Both(record, to_message(record))
