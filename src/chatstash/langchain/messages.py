"""LangChain message <-> `Record`. Pure.

`type` and `data` are LangChain's own: the message's `type` and its `model_dump()`. Fields of `data` that hold the
default value of the class the record will be read as are left out; old readers fill them in again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from langchain_core import messages as langchain_messages
from langchain_core.messages import BaseMessage, messages_from_dict
from pydantic import ValidationError

from chatstash.errors import CorruptRecord, UnstorableMessage
from chatstash.history.options import StartOn
from chatstash.history.records.message_types import JS_CHAT
from chatstash.history.records.record import Record
from chatstash.langchain.construction import Fill
from chatstash.langchain.templates import WHAT_VALIDATORS_RAISE

_CLASSES: Mapping[str, type[BaseMessage]] = {
    "human": langchain_messages.HumanMessage,
    "ai": langchain_messages.AIMessage,
    "system": langchain_messages.SystemMessage,
    "chat": langchain_messages.ChatMessage,
    "function": langchain_messages.FunctionMessage,
    "tool": langchain_messages.ToolMessage,
    "remove": langchain_messages.RemoveMessage,
    "AIMessageChunk": langchain_messages.AIMessageChunk,
    "HumanMessageChunk": langchain_messages.HumanMessageChunk,
    "SystemMessageChunk": langchain_messages.SystemMessageChunk,
    "ChatMessageChunk": langchain_messages.ChatMessageChunk,
    "FunctionMessageChunk": langchain_messages.FunctionMessageChunk,
    "ToolMessageChunk": langchain_messages.ToolMessageChunk,
}
"""What `messages_from_dict` makes of each type; the defaults of these classes are the ones left out."""


def types_of(start_on: StartOn) -> StartOn:
    """Return the names of message types; a class stands for all types read as one of its instances."""
    if isinstance(start_on, str):
        return start_on
    given = [start_on] if isinstance(start_on, type) else start_on
    if not isinstance(given, Sequence):
        return given
    return [name for kind in given for name in (_names_of(kind) if isinstance(kind, type) else [kind])]


def _names_of(kind: type) -> list[str]:
    names = (
        [name for name, known in _CLASSES.items() if issubclass(known, kind)] if issubclass(kind, BaseMessage) else []
    )
    if not names:
        raise ValueError(f"start_on: no message that is read is a {kind.__name__}")
    return names


_FILLS: Mapping[str, Fill] = {name: Fill(kind) for name, kind in _CLASSES.items()}
_OF_TEXT_ALONE = frozenset(("human", "ai", "system"))
_TEXT_FIELDS = frozenset(("content", "id", "name"))


def to_records(messages: Iterable[BaseMessage]) -> list[Record]:
    """Return the records of messages, without ids.

    Raises:
        UnstorableMessage: One is no message, or of a type that LangChain cannot read back; says which.
    """
    if isinstance(messages, (str, bytes, dict, BaseMessage)) or not isinstance(messages, Iterable):
        raise UnstorableMessage(
            f"add_messages takes a list of messages, not a {type(messages).__name__}; add_message takes a single "
            "message, add_user_message a text",
            index=None,
        )
    return [_to_record(message, index) for index, message in enumerate(messages)]


def _to_record(message: BaseMessage, index: int) -> Record:
    if not isinstance(message, BaseMessage):
        raise UnstorableMessage(f"it is a {type(message).__name__}, not a LangChain message", index=index)
    if not isinstance(message.type, str) or message.type not in _CLASSES:
        raise UnstorableMessage(
            f"its type {message.type!r} is none that LangChain reads back; use one of {', '.join(_CLASSES)}",
            index=index,
            path="type",
        )
    try:
        data = message.model_dump()
    except (ValueError, RecursionError) as error:
        raise UnstorableMessage(f"LangChain cannot turn it into a dict ({_first_line(error)})", index=index) from None
    defaults = _defaults(message.type)
    kept = {name: value for name, value in data.items() if not (name in defaults and _same(value, defaults[name]))}
    record = Record(message.type, kept)
    if _is_surely_readable(record):
        return record
    try:
        to_message(record)
    except CorruptRecord as error:
        # A field was set to what its class would refuse: stored, it would make the whole conversation unreadable.
        raise UnstorableMessage(f"it could not be read back: {error.reason}", index=index) from error
    return record


def _is_surely_readable(record: Record) -> bool:
    """Tell at a glance that LangChain takes a record: nothing but short of a few texts; False where it is not sure."""
    if record.type not in _OF_TEXT_ALONE or "content" not in record.data:
        return False
    for name, value in record.data.items():
        # pydantic refuses half a surrogate pair, which is not ASCII.
        if name not in _TEXT_FIELDS or type(value) is not str or not value.isascii():
            return False
    return True


@lru_cache
def _defaults(message_type: str) -> Mapping[str, Any]:
    """Return the default value of each field of a type that has one."""
    fields = _CLASSES[message_type].model_fields
    return {
        name: field.get_default(call_default_factory=True) for name, field in fields.items() if not field.is_required()
    }


def _same(value: Any, default: Any) -> bool:
    # Type for type: 0 and False are equal, and yet not the same in JSON.
    return type(value) is type(default) and (value is default or (not value and not default) or value == default)


def to_message(record: Record, *, key: str = "", position: int = 0) -> BaseMessage:
    """Return the message of a record.

    Args:
        record: The record.
        key: The conversation's key, for the error.
        position: The record's place in the conversation, 0 for the oldest, for the error.

    Raises:
        CorruptRecord: LangChain cannot make a message of it: an unknown type, or fields that are wrong.
    """
    fill = _FILLS.get(record.type)
    if fill is not None and (filled := fill(record.data)) is not None:
        return filled
    try:
        (message,) = messages_from_dict([_langchain_form(record)])
    except WHAT_VALIDATORS_RAISE as error:
        # Hostile data may make a validator stumble in many ways; all of them mean the same.
        reason = f"LangChain cannot make a message of it ({type(error).__name__}: {_first_line(error)})"
        # A stored type or name stands in a bare ValueError as it is, line ends included; pydantic escapes them.
        cause = error if isinstance(error, ValidationError) else None
        raise CorruptRecord(reason, key=key, position=position, raw=record.raw) from cause
    return message


def copied_messages(parsed: list[Any]) -> list[BaseMessage | None]:
    """Return the message of each record, given its JSON, that is like one made before; None for any other.

    The list of JSON is used up: what is not needed any more makes room for what comes.
    """
    made: list[BaseMessage | None] = []
    parsed.reverse()
    while parsed:
        fields = parsed.pop()
        try:
            data = fields["data"]
            template = None if "v" in fields else _FILLS[fields["type"]].templates.get(tuple(data))
            made.append(None if template is None else template.filled(data))
        except (LookupError, TypeError):
            # It is no record, or of a type that LangChain does not know.
            made.append(None)
    return made


def why_unreadable(record: Record) -> str | None:
    """Return why LangChain can make no message of a record, without a word of what the record says; else None."""
    try:
        to_message(record)
    except CorruptRecord as error:
        return f"LangChain cannot make a message of it ({_what_is_wrong(error.__cause__, record)})"
    return None


def _what_is_wrong(error: BaseException | None, record: Record) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_context=False, include_url=False)[0]
        known = _CLASSES[record.type].model_fields if record.type in _CLASSES else {}
        field = next((part for part in first["loc"][:1] if part in known), None)
        return first["type"] if field is None else f"{field}: {first['type']}"
    if isinstance(error, KeyError) and error.args and error.args[0] in ("content", "tool_call_id"):
        return f"{error.args[0]}: missing"
    return type(error).__name__


def _langchain_form(record: Record) -> dict[str, Any]:
    if record.type != JS_CHAT:
        return {"type": record.type, "data": dict(record.data)}
    return {"type": "chat", "data": {**record.data, "type": "chat"}}


def _first_line(error: Exception) -> str:
    line = (str(error).splitlines() or [""])[0][:200]
    return "".join(char if char.isprintable() else " " for char in line)
