"""Messages and records in other forms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.messages import BaseMessage, convert_to_openai_messages

from chatstash.history.records.record import Record
from chatstash.langchain.messages import to_message


def checked_items(items: Iterable[BaseMessage | Record]) -> list[BaseMessage | Record]:
    """Return messages or records as a list, or raise ValueError where others are among them."""
    if isinstance(items, (str, bytes, dict, BaseMessage, Record)) or not isinstance(items, Iterable):
        raise ValueError(f"give a list of messages or records, not a {type(items).__name__}")
    listed = list(items)
    for index, item in enumerate(listed):
        if not isinstance(item, (BaseMessage, Record)):
            raise ValueError(f"item {index} is a {type(item).__name__}, not a message or a record")
    return listed


def to_openai(messages: Iterable[BaseMessage | Record]) -> list[dict[str, Any]]:
    """Return messages in the format of OpenAI's chat completions, by langchain-core's `convert_to_openai_messages`.

    Args:
        messages: LangChain messages, or records.

    Raises:
        ValueError: Something else is among them, or LangChain cannot convert a message.
        CorruptRecord: LangChain cannot read a record.
    """
    given: Sequence[BaseMessage] = [
        to_message(item, position=position) if isinstance(item, Record) else item
        for position, item in enumerate(checked_items(messages))
    ]
    converted = convert_to_openai_messages(given)
    return converted if isinstance(converted, list) else [converted]
