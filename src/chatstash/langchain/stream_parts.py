"""The output of a stream, put together of the parts that its reader was shown. Pure.

Parts are kept as they come and added up at the end, so that no error of adding reaches the reader between two of them.
Chunks are added as langchain-core adds them. Where it refuses to, what was said is added all the same, and of metadata
the last value counts.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, BaseMessageChunk, message_chunk_to_message
from langchain_core.runnables import AddableDict

_log = logging.getLogger("chatstash")

_DEEPEST = 6
_ADDRESSES = ("role", "tool_call_id")
_METADATA = ("additional_kwargs", "response_metadata")


def added_up(parts: Iterable[Any]) -> Any:
    """Return the output that parts are of: a str, a message, a list of messages, or a dict; [] for no parts.

    Of parts that are no text, message or dict the last counts, where there are no others.
    """
    shown = [part for part in parts if part is not None]
    dicts = [part for part in shown if isinstance(part, Mapping)]
    if dicts and len(dicts) == len(shown):
        return _dict_of(dicts)
    pieces = [piece for part in shown for piece in _pieces(part)]
    said = [piece for piece in pieces if isinstance(piece, (str, BaseMessage))]
    if not said:
        return shown[-1] if shown else []
    if len(said) < len(pieces):
        _log.warning("A stream had parts that are neither text nor messages beside some that are: they are not stored.")
    texts = [piece for piece in said if isinstance(piece, str)]
    if len(texts) == len(said):
        return "".join(texts)
    # One that comes again, with its id, is the same message.
    messages = list({message.id or id(message): message for message in _messages(said)}.values())
    return messages[0] if len(messages) == 1 and isinstance(messages[0], BaseMessageChunk) else messages


def _pieces(part: Any) -> Sequence[Any]:
    are_messages = isinstance(part, (list, tuple)) and all(isinstance(each, BaseMessage) for each in part)
    return part if are_messages else [part]


def _dict_of(dicts: Sequence[Mapping[Any, Any]]) -> dict[Any, Any]:
    names = list(dict.fromkeys(name for part in dicts for name in part))
    deltas = all(isinstance(part, AddableDict) for part in dicts)
    return {name: _value_of([part[name] for part in dicts if name in part], deltas=deltas) for name in names}


def _value_of(values: list[Any], *, deltas: bool) -> Any:
    """Return the value of a key that several dicts have: the last of states that grow, the sum of anything else."""
    shown = [value for value in values if value is not None]
    if len(shown) < 2:
        return shown[0] if shown else None
    if not deltas and all(map(_goes_on, shown, shown[1:])):
        return shown[-1]
    return added_up(shown)


def _goes_on(value: Any, following: Any) -> bool:
    """Tell whether a value is a state that goes on another."""
    if isinstance(value, str) and isinstance(following, str):
        return following.startswith(value)
    if isinstance(value, (list, tuple)) and isinstance(following, (list, tuple)):
        return list(following[: len(value)]) == list(value)
    return False


def _messages(said: Iterable[str | BaseMessage]) -> Iterator[BaseMessage]:
    """Yield the messages that texts, chunks and whole messages make, one after the other."""
    chunks: list[Any] = []
    for piece in said:
        if chunks and not _continues(chunks[-1], piece):
            whole = _joined(chunks)
            chunks = []
            if not _is_whole_of(piece, whole):
                yield _as_message(whole)
        if isinstance(piece, (str, BaseMessageChunk)):
            chunks.append(piece)
        else:
            yield piece
    if chunks:
        yield _as_message(_joined(chunks))


def _continues(chunk: Any, piece: Any) -> bool:
    if isinstance(chunk, str) or isinstance(piece, str):
        return isinstance(chunk, str) and isinstance(piece, str)
    is_like = isinstance(piece, BaseMessageChunk) and isinstance(piece, type(chunk))
    return is_like and all(getattr(piece, name, None) == getattr(chunk, name, None) for name in _ADDRESSES)


def _is_whole_of(piece: Any, joined: Any) -> bool:
    """Tell whether a message is the whole of chunks that were shown before."""
    if isinstance(joined, str) or not isinstance(piece, BaseMessage) or isinstance(piece, BaseMessageChunk):
        return False
    if piece.id and joined.id:
        return bool(piece.id == joined.id)
    return message_chunk_to_message(joined).type == piece.type and bool(joined.content == piece.content)


def _as_message(joined: Any) -> BaseMessage:
    return AIMessage(content=joined) if isinstance(joined, str) else joined


def _joined(chunks: Sequence[Any]) -> Any:
    return "".join(chunks) if isinstance(chunks[0], str) else reduce(_added, chunks)


def _added(left: Any, right: Any) -> Any:
    """Return the sum of two chunks, or, where their classes refuse it, of what they say, with metadata apart."""
    # What adding raises is the choice of each class, and the reader was shown both.
    with contextlib.suppress(Exception):
        return left + right
    metadata = {name: _updated(getattr(left, name), getattr(right, name)) for name in _METADATA}
    bare = [chunk.model_copy(update={name: {} for name in _METADATA}) for chunk in (left, right)]
    with contextlib.suppress(Exception):
        return (bare[0] + bare[1]).model_copy(update=metadata)
    return _in_blocks(left, right, metadata)


def _in_blocks(left: Any, right: Any, metadata: Mapping[str, Any]) -> Any:
    calls = [*getattr(left, "tool_call_chunks", []), *getattr(right, "tool_call_chunks", [])]
    usage = getattr(right, "usage_metadata", None) or getattr(left, "usage_metadata", None)
    more = {"tool_call_chunks": calls, "usage_metadata": usage} if hasattr(left, "tool_call_chunks") else {}
    fields = {"content": _content(left.content, right.content), "id": left.id or right.id, "name": left.name}
    return type(left)(**{**_required(left), **fields, **metadata, **more})


def _required(chunk: Any) -> dict[str, Any]:
    return {name: getattr(chunk, name) for name in _ADDRESSES if hasattr(chunk, name)}


def _content(left: Any, right: Any) -> Any:
    if isinstance(left, str) and isinstance(right, str):
        return left + right
    return [*_blocks(left), *_blocks(right)]


def _blocks(content: Any) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return list(content)


def _updated(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata in which the later value counts, except that what grows in pieces is put together."""
    merged = dict(left)
    for name, value in right.items():
        held = merged.get(name)
        if isinstance(held, Mapping) and isinstance(value, Mapping):
            merged[name] = _updated(held, value)
        elif name == "arguments" and isinstance(held, str) and isinstance(value, str):
            merged[name] = held + value
        elif value is not None:
            merged[name] = value
    return merged


def messages_among(parts: Iterable[Any]) -> list[BaseMessage]:
    """Return the messages that parts hold, of whatever shape they are; the chunks of each, by its id, put together."""
    found: dict[Any, list[BaseMessage]] = {}
    for part in parts:
        for message in messages_in(part):
            is_chunk = isinstance(message, BaseMessageChunk)
            found.setdefault(message.id or (type(message) if is_chunk else id(message)), []).append(message)
    return [message for each in found.values() for message in _messages(each)]


def messages_in(value: Any, depth: int = 0) -> Iterator[BaseMessage]:
    """Yield the messages that a value holds: in lists, tuples and dicts, and in langgraph's commands."""
    if isinstance(value, BaseMessage):
        yield value
    elif depth < _DEEPEST:
        for held in _held_by(value):
            yield from messages_in(held, depth + 1)


def _held_by(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, (list, tuple)):
        return value
    update = None if isinstance(value, (str, bytes)) else getattr(value, "update", None)
    return [update] if isinstance(update, (Mapping, list, tuple)) else []
