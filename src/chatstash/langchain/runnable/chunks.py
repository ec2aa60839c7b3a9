"""The output of a stream, combined from the chunks that its reader received. Pure.

Chunks are combined after the stream, so that no error of combining them interrupts the reader. They are added as
langchain-core adds them. If that fails, their content is concatenated, and of each metadata value the last counts.
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

_MAX_DEPTH = 6
_METADATA = ("additional_kwargs", "response_metadata")


def output_from_chunks(chunks: Iterable[Any]) -> Any:
    """Return the output that chunks make up: a str, a message, a list of messages, or a dict; [] for no chunks.

    If no chunk is a str, a message or a dict, the last chunk is the output.
    """
    received = [chunk for chunk in chunks if chunk is not None]
    dicts = [chunk for chunk in received if isinstance(chunk, Mapping)]
    if dicts and len(dicts) == len(received):
        return _combined_dict(dicts)
    pieces = [piece for chunk in received for piece in _pieces(chunk)]
    storable = [piece for piece in pieces if isinstance(piece, (str, BaseMessage))]
    if not storable:
        return received[-1] if received else []
    if len(storable) < len(pieces):
        _log.warning("Some chunks of a stream are neither text nor messages; they are not stored.")
    texts = [piece for piece in storable if isinstance(piece, str)]
    if len(texts) == len(storable):
        return "".join(texts)
    # A message that is repeated with its id counts once.
    messages = list({message.id or id(message): message for message in _combined_messages(storable)}.values())
    return messages[0] if len(messages) == 1 and isinstance(messages[0], BaseMessageChunk) else messages


def messages_from_chunks(chunks: Iterable[Any]) -> list[BaseMessage]:
    """Return the messages that chunks of any form hold; message chunks are combined by id."""
    found: dict[Any, list[BaseMessage]] = {}
    for chunk in chunks:
        for message in messages_in(chunk):
            is_chunk = isinstance(message, BaseMessageChunk)
            found.setdefault(message.id or (type(message) if is_chunk else id(message)), []).append(message)
    return [message for each in found.values() for message in _combined_messages(each)]


def messages_in(value: Any, depth: int = 0) -> Iterator[BaseMessage]:
    """Yield the messages that a value holds: in lists, tuples and dicts, and in langgraph's `Command`."""
    if isinstance(value, BaseMessage):
        yield value
    elif depth < _MAX_DEPTH:
        for held in _values_in(value):
            yield from messages_in(held, depth + 1)


def _values_in(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, (list, tuple)):
        return value
    update = None if isinstance(value, (str, bytes)) else getattr(value, "update", None)
    return [update] if isinstance(update, (Mapping, list, tuple)) else []


def _pieces(chunk: Any) -> Sequence[Any]:
    are_messages = isinstance(chunk, (list, tuple)) and all(isinstance(each, BaseMessage) for each in chunk)
    return chunk if are_messages else [chunk]


def _combined_dict(dicts: Sequence[Mapping[Any, Any]]) -> dict[Any, Any]:
    names = list(dict.fromkeys(name for each in dicts for name in each))
    are_deltas = all(isinstance(each, AddableDict) for each in dicts)
    return {
        name: _combined_value([each[name] for each in dicts if name in each], are_deltas=are_deltas) for name in names
    }


def _combined_value(values: list[Any], *, are_deltas: bool) -> Any:
    """Return the value of a key that several dicts have: the last of states that grow, else the sum of deltas."""
    received = [value for value in values if value is not None]
    if len(received) < 2:
        return received[0] if received else None
    if not are_deltas and all(map(_extends, received[1:], received)):
        return received[-1]
    return output_from_chunks(received)


def _extends(value: Any, earlier: Any) -> bool:
    if isinstance(value, str) and isinstance(earlier, str):
        return value.startswith(earlier)
    if isinstance(value, (list, tuple)) and isinstance(earlier, (list, tuple)):
        return list(value[: len(earlier)]) == list(earlier)
    return False


def _combined_messages(pieces: Iterable[str | BaseMessage]) -> Iterator[BaseMessage]:
    """Yield the messages that texts, chunks and whole messages make up, in their order."""
    chunks: list[Any] = []
    for piece in pieces:
        if chunks and not _continues(chunks[-1], piece):
            message = _sum(chunks)
            chunks = []
            if not _repeats(piece, message):
                yield message
        if isinstance(piece, (str, BaseMessageChunk)):
            chunks.append(piece)
        else:
            yield piece
    if chunks:
        yield _sum(chunks)


def _continues(chunk: Any, piece: Any) -> bool:
    if isinstance(chunk, str) or isinstance(piece, str):
        return isinstance(chunk, str) and isinstance(piece, str)
    is_like = isinstance(piece, BaseMessageChunk) and isinstance(piece, type(chunk))
    return is_like and all(
        getattr(piece, name, None) == getattr(chunk, name, None) for name in ("role", "tool_call_id")
    )


def _repeats(piece: Any, combined: Any) -> bool:
    """Tell whether a whole message repeats the chunks before it."""
    if not isinstance(combined, BaseMessageChunk) or isinstance(piece, (str, BaseMessageChunk)):
        return False
    if piece.id and combined.id:
        return bool(piece.id == combined.id)
    return message_chunk_to_message(combined).type == piece.type and bool(combined.content == piece.content)


def _sum(chunks: Sequence[Any]) -> BaseMessage:
    return AIMessage(content="".join(chunks)) if isinstance(chunks[0], str) else reduce(_added, chunks)


def _added(left: Any, right: Any) -> Any:
    """Return the sum of two chunks. If their class refuses it, leave metadata out of the sum, then concatenate."""
    # Each class may raise what it likes, and the reader has received both chunks.
    with contextlib.suppress(Exception):
        return left + right
    metadata = {name: _updated(getattr(left, name), getattr(right, name)) for name in _METADATA}
    bare = [chunk.model_copy(update={name: {} for name in _METADATA}) for chunk in (left, right)]
    with contextlib.suppress(Exception):
        return (bare[0] + bare[1]).model_copy(update=metadata)
    return _concatenated(left, right, metadata)


def _concatenated(left: Any, right: Any, metadata: Mapping[str, Any]) -> Any:
    fields = {**vars(left), "content": _concatenated_content(left.content, right.content), **metadata}
    if hasattr(left, "tool_call_chunks"):
        fields["tool_call_chunks"] = [*left.tool_call_chunks, *right.tool_call_chunks]
        fields["usage_metadata"] = right.usage_metadata or left.usage_metadata
    return type(left)(**{**fields, "id": left.id or right.id})


def _concatenated_content(left: Any, right: Any) -> Any:
    if isinstance(left, str) and isinstance(right, str):
        return left + right
    return [*_blocks(left), *_blocks(right)]


def _blocks(content: Any) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return list(content)


def _updated(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata updated by later metadata; the arguments of a function call are concatenated."""
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
