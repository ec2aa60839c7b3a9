"""LangChain message <-> `Record`. Pure.

`type` and `data` are the message's `type` and its `model_dump()`. Fields of `data` with the default value of the class
that the record is read as are left out; old readers fill them in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from langchain_core import messages as langchain_messages
from langchain_core.messages import BaseMessage, messages_from_dict
from pydantic import ValidationError

from chatstash.errors import CorruptRecord, UnstorableMessage
from chatstash.history.codec import JsonCodec
from chatstash.history.records.message_types import JS_CHAT
from chatstash.history.records.record import Record
from chatstash.history.values.options import StartOn
from chatstash.langchain.bulk import messages_of
from chatstash.langchain.construction import FastConstructor
from chatstash.langchain.plain import plain_record
from chatstash.langchain.template import VALIDATION_ERRORS

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
"""The class that `messages_from_dict` constructs for each type; the default values of these classes are left out."""


_CONSTRUCTORS: Mapping[str, FastConstructor] = {name: FastConstructor(kind) for name, kind in _CLASSES.items()}


def to_records(messages: Iterable[BaseMessage]) -> list[Record]:
    """Return the records of messages, without ids; UnstorableMessage if LangChain could not read one back."""
    if isinstance(messages, (str, bytes, dict, BaseMessage)) or not isinstance(messages, Iterable):
        raise UnstorableMessage(
            f"add_messages takes a list of messages, not {type(messages).__name__}; add_message takes one message, "
            "add_user_message a text",
            index=None,
        )
    return [plain_record(message) or _to_record(message, index) for index, message in enumerate(messages)]


def _to_record(message: BaseMessage, index: int) -> Record:
    if not isinstance(message, BaseMessage):
        raise UnstorableMessage(f"it is a {type(message).__name__}, not a LangChain message", index=index)
    if not isinstance(message.type, str) or message.type not in _CLASSES:
        raise UnstorableMessage(
            f"LangChain cannot read back its type {message.type!r}; use one of {', '.join(_CLASSES)}",
            index=index,
            path="type",
        )
    try:
        data = message.model_dump()
    except (ValueError, RecursionError) as error:
        raise UnstorableMessage(f"LangChain cannot turn it into a dict ({_first_line(error)})", index=index) from None
    defaults = _defaults(message.type)
    kept = {
        name: value for name, value in data.items() if not (name in defaults and _is_default(value, defaults[name]))
    }
    record = Record(message.type, kept)
    try:
        to_message(record)
    except CorruptRecord as error:
        # A field was set to a value that its class refuses. Stored, it would make the whole conversation unreadable.
        raise UnstorableMessage(f"it could not be read back: {error.reason}", index=index) from error
    return record


@lru_cache
def _defaults(message_type: str) -> Mapping[str, Any]:
    """Return the default value of each field of a type that has one."""
    fields = _CLASSES[message_type].model_fields
    return {
        name: field.get_default(call_default_factory=True) for name, field in fields.items() if not field.is_required()
    }


def _is_default(value: Any, default: Any) -> bool:
    # 0 and False are equal, but differ in JSON.
    return type(value) is type(default) and (value is default or (not value and not default) or value == default)


def to_message(record: Record, *, key: str = "", position: int = 0) -> BaseMessage:
    """Return the message of a record; CorruptRecord if its type is unknown or its fields are invalid."""
    construct = _CONSTRUCTORS.get(record.type)
    if construct is not None and (constructed := construct(record.data)) is not None:
        return constructed
    kind = "chat" if record.type == JS_CHAT else record.type
    data = {**record.data, "type": kind} if record.type == JS_CHAT else dict(record.data)
    try:
        (message,) = messages_from_dict([{"type": kind, "data": data}])
    except VALIDATION_ERRORS as error:
        # Hostile data can make a validator fail in many ways, which all mean the same.
        reason = f"LangChain cannot convert it to a message ({type(error).__name__}: {_first_line(error)})"
        # A plain ValueError has the stored type or name unescaped, line ends included; pydantic escapes them.
        cause = error if isinstance(error, ValidationError) else None
        raise CorruptRecord(reason, key=key, position=position, raw=record.raw) from cause
    return message


class MessageCodec(JsonCodec[BaseMessage]):
    """The items of a session are LangChain messages."""

    def to_records(self, items: Iterable[BaseMessage]) -> list[Record]:
        """Return the records of messages; a RemoveMessage has none, because LangChain.js could not read it."""
        records = to_records(items)
        for index, record in enumerate(records):
            if record.type == "remove":
                reason = "a RemoveMessage cannot be stored; add_messages removes with a list of them"
                raise UnstorableMessage(reason, index=index)
        return records

    def from_record(self, record: Record, *, key: str = "", position: int = 0) -> BaseMessage:
        """Return the message of a record."""
        return to_message(record, key=key, position=position)

    def from_text(self, text: str) -> BaseMessage:
        """Return the message of a model's reply."""
        return langchain_messages.AIMessage(content=text)

    def from_json(self, parsed: list[Any]) -> list[BaseMessage | None]:
        """Return the message of each record's parsed JSON, if it can be copied from a template; else None."""
        return messages_of(parsed, _CONSTRUCTORS)

    def type_names(self, start_on: StartOn) -> StartOn:
        """Return the names of message types; a class stands for all types read as one of its instances."""
        given = [start_on] if isinstance(start_on, type) else start_on
        if isinstance(given, str) or not isinstance(given, Sequence):
            return given
        return [name for kind in given for name in (_names_of(kind) if isinstance(kind, type) else [kind])]


MESSAGES = MessageCodec()


def _names_of(kind: type) -> list[str]:
    names = [name for name, read_as in _CLASSES.items() if issubclass(read_as, kind)]
    if not names or not issubclass(kind, BaseMessage):
        raise ValueError(f"start_on: no message is read as {kind.__name__}")
    return names


def why_unreadable(record: Record) -> str | None:
    """Return why LangChain cannot convert a record to a message, without quoting the record; None if it can."""
    try:
        to_message(record)
    except CorruptRecord as error:
        return f"LangChain cannot convert it to a message ({_problem(error.__cause__, record)})"
    return None


def _problem(error: BaseException | None, record: Record) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_context=False, include_url=False)[0]
        known = _CLASSES[record.type].model_fields if record.type in _CLASSES else {}
        field = next((part for part in first["loc"][:1] if part in known), None)
        return first["type"] if field is None else f"{field}: {first['type']}"
    if isinstance(error, KeyError) and error.args and error.args[0] in ("content", "tool_call_id"):
        return f"{error.args[0]}: missing"
    return type(error).__name__


def _first_line(error: Exception) -> str:
    line = (str(error).splitlines() or [""])[0][:200]
    return "".join(char if char.isprintable() else " " for char in line)
