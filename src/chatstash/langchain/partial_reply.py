"""What is kept of a reply whose reader stopped: what was shown, in a form that model providers take. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    BaseMessageChunk,
    ToolMessage,
    message_chunk_to_message,
)

from chatstash.langchain.alignment import text_of
from chatstash.langchain.inputs_outputs import interrupted
from chatstash.langchain.recorder import NAMESPACE, GraphRun, finished_calls
from chatstash.langchain.stream_parts import added_up, messages_in


def stopped_messages(said: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return what to keep of messages: whole ones, with tool calls that have their results; of others, the text.

    A chunk is a message that did not come to its end: unless it says that it is the last, it is marked as interrupted.
    """
    finished = {id(message) for message in finished_calls(said)}
    kept: list[BaseMessage] = []
    for message in said:
        is_call = isinstance(message, ToolMessage) or (isinstance(message, AIMessage) and bool(message.tool_calls))
        if id(message) in finished or not (is_call or _is_cut(message)):
            kept.append(message_chunk_to_message(message))
        elif isinstance(message, AIMessage) and (text := text_of(message)):
            kept.append(interrupted(message, text))
    return kept if any(isinstance(message, (AIMessage, ToolMessage)) for message in kept) else []


def _is_cut(message: BaseMessage) -> bool:
    return isinstance(message, BaseMessageChunk) and getattr(message, "chunk_position", None) != "last"


def begun(output: Any) -> list[BaseMessage]:
    """Return the messages of an output that had begun; a text is the chunk of a message, another shape is none."""
    if isinstance(output, str):
        return [AIMessageChunk(content=output)]
    messages = [output] if isinstance(output, BaseMessage) else output
    are_messages = isinstance(messages, (list, tuple)) and all(isinstance(each, BaseMessage) for each in messages)
    return list(messages) if are_messages else []


def shown_state(
    graph: GraphRun, key: str | None, parts: Sequence[Any], unfinished: Iterable[BaseMessageChunk]
) -> list[BaseMessage]:
    """Return the messages of a stopped graph's state, as far as its reader was shown them.

    A graph may be ahead of its reader. A reader who is shown no messages, but events or values of another kind, is
    taken to have been shown all.

    Args:
        graph: The graph.
        key: Where its state holds messages; None for `messages`.
        parts: The parts of the stream.
        unfinished: The chunks of models that have not ended.
    """
    state = graph.state(key)
    streamed = _streamed(parts, graph.namespaces)
    whole = {each.id for part in parts for each in messages_in(part) if not isinstance(each, BaseMessageChunk)}
    known = {message.id for message in graph.given(key) or []}
    while state and (whole or streamed) and state[-1].id not in {*known, *whole, *streamed}:
        state.pop()
    if state and state[-1].id in streamed and state[-1].id not in whole | known:
        state[-1] = _as_shown(state[-1], streamed[state[-1].id])
    there = {message.id for message in state}
    begun_since = [chunk for name, chunk in streamed.items() if name not in there and name not in whole]
    return [*state, *(begun_since or _by_id(unfinished).values())]


def _as_shown(message: BaseMessage, chunk: BaseMessage) -> BaseMessage:
    shown, whole = text_of(chunk), text_of(message)
    # Another text is that of middleware which rewrote it.
    return chunk if len(shown) < len(whole) and whole.startswith(shown) else message


def _streamed(parts: Iterable[Any], namespaces: set[str]) -> dict[str | None, BaseMessage]:
    """Return what was shown of each message in chunks, of models that the graph's own nodes call."""
    return _by_id(
        message
        for part in parts
        for message, metadata in _with_metadata(part)
        if isinstance(message, BaseMessageChunk)
        and metadata.get(NAMESPACE) in namespaces
        and "lc_source" not in metadata
    )


def _by_id(chunks: Iterable[BaseMessageChunk]) -> dict[str | None, BaseMessage]:
    found: dict[str | None, list[BaseMessageChunk]] = {}
    for chunk in chunks:
        found.setdefault(chunk.id, []).append(chunk)
    return {name: begun(added_up(each))[0] for name, each in found.items()}


def _with_metadata(part: Any) -> Iterator[tuple[BaseMessage, Mapping[str, Any]]]:
    if isinstance(part, Mapping):
        part = list(part.values())
    if not isinstance(part, (list, tuple)):
        return
    if len(part) == 2 and isinstance(part[0], BaseMessage) and isinstance(part[1], Mapping):
        yield part[0], part[1]
        return
    for held in part:
        yield from _with_metadata(held)
