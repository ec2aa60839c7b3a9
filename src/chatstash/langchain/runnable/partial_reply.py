"""The partial reply of a stream that was closed early, in a form that model providers accept. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    BaseMessageChunk,
    ToolMessage,
    message_chunk_to_message,
)

from chatstash.history.tool_calls.editing import without_calls
from chatstash.history.tool_calls.formats import CallKey
from chatstash.langchain.messages import to_message, to_records
from chatstash.langchain.runnable.callbacks import NAMESPACE, GraphTrace
from chatstash.langchain.runnable.chunks import messages_from_chunks, messages_in, output_from_chunks
from chatstash.langchain.runnable.inputs_outputs import STATE_KEY
from chatstash.langchain.runnable.message_views import text_of
from chatstash.langchain.runnable.tool_messages import answered_calls, call_ids


def partial_reply(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return the messages of a partial reply to store; none without an answer of a model or a tool.

    Complete messages are stored, and tool calls that have their results. Of other messages of the AI only the text is
    stored, marked as interrupted. A message some of whose calls have results is stored with these calls, marked too. A
    chunk is interrupted unless it is marked as the last one.
    """
    results = {name for message in messages if isinstance(message, ToolMessage) for name in call_ids(message)}
    messages = [_without_open_calls(message, results) for message in messages]
    answered = {id(message) for message in answered_calls(messages)}
    kept: list[BaseMessage] = []
    for message in messages:
        has_call = isinstance(message, ToolMessage) or (isinstance(message, AIMessage) and bool(message.tool_calls))
        if id(message) in answered or not (has_call or _is_interrupted(message)):
            kept.append(message_chunk_to_message(message))
        elif isinstance(message, AIMessage) and (text := text_of(message)):
            # Without tool calls and reasoning: model providers refuse a conversation with incomplete ones.
            metadata = {**message.response_metadata, "interrupted": True}
            kept.append(AIMessage(content=text, id=message.id, name=message.name, response_metadata=metadata))
    return kept if any(isinstance(message, (AIMessage, ToolMessage)) for message in kept) else []


def _without_open_calls(message: BaseMessage, results: Collection[str | None]) -> BaseMessage:
    """Return a message without its calls that have no results, if others have."""
    names = call_ids(message) if isinstance(message, AIMessage) else []
    unanswered = [CallKey(name or "") for name in names if name not in results]
    if not 0 < len(unanswered) < len(names):
        return message
    (record,) = to_records([message_chunk_to_message(message)])
    kept = to_message(without_calls(record, unanswered))
    return kept.model_copy(update={"response_metadata": {**kept.response_metadata, "interrupted": True}})


def _is_interrupted(message: BaseMessage) -> bool:
    return isinstance(message, BaseMessageChunk) and getattr(message, "chunk_position", None) != "last"


def partial_messages(chunks: Iterable[Any], key: str | None = None) -> list[BaseMessage]:
    """Return the messages of a stream's chunks so far; a text is the chunk of a message.

    In a dict, they are at the key; None stands for `output`, else `messages`.
    """
    output = output_from_chunks(chunks)
    if isinstance(output, Mapping):
        # Not the only key there is: that of the reply may be about to come.
        output = output.get(key or next((name for name in ("output", STATE_KEY) if name in output), None))
    if isinstance(output, str):
        return [AIMessageChunk(content=output)]
    messages = [output] if isinstance(output, BaseMessage) else output
    are_messages = isinstance(messages, (list, tuple)) and all(isinstance(each, BaseMessage) for each in messages)
    return list(messages) if are_messages else []


class ReceivedState(NamedTuple):
    """The messages of a stopped graph's state that its reader received, and those of the updates that led to it."""

    messages: list[BaseMessage]
    updates: list[BaseMessage]


def received_state(
    graph: GraphTrace, key: str | None, chunks: Sequence[Any], unfinished: Iterable[BaseMessageChunk]
) -> ReceivedState:
    """Return the part of a stopped graph's state that its reader received.

    A graph may be ahead of its reader. A reader that receives no messages, but events or other values, is treated as
    having received all. `unfinished` has the chunks of models that have not ended.
    """
    streamed = _streamed(chunks, graph.namespaces)
    whole = {each.id: each for chunk in chunks for each in messages_in(chunk) if not isinstance(each, BaseMessageChunk)}
    earlier = {message.id for message in graph.input_messages(key) or []}
    received = {**whole, **streamed}
    updates = graph.updates_until(received.keys() - earlier)
    state = graph.state_messages(key, updates)
    while state and received and not _is_any_of(state[-1], received, earlier):
        state.pop()
    if state and state[-1].id in streamed and state[-1].id not in whole.keys() | earlier:
        state[-1] = _as_received(state[-1], streamed[state[-1].id])
    # A message of an update that is not in the state was removed, or replaced by a copy.
    ended = whole.keys() | {message.id for message in graph.update_messages()}
    begun = [message for name, message in streamed.items() if name not in ended]
    return ReceivedState([*state, *(begun or _by_id(unfinished).values())], updates)


def _is_any_of(
    message: BaseMessage, received: Mapping[str | None, BaseMessage], earlier: Collection[str | None]
) -> bool:
    """Tell whether a message was received or is an earlier one; middleware may give a copy another id."""
    if message.id in received or message.id in earlier:
        return True
    names, text = call_ids(message), text_of(message)
    return any(
        message.type == other.type and names == call_ids(other) and (names or text == text_of(other))
        for other in received.values()
    )


def _as_received(message: BaseMessage, received: BaseMessage) -> BaseMessage:
    part, whole = text_of(received), text_of(message)
    # If the texts differ otherwise, middleware rewrote the message.
    return received if len(part) < len(whole) and whole.startswith(part) else message


def _streamed(chunks: Iterable[Any], namespaces: set[str]) -> dict[str | None, BaseMessage]:
    """Return the messages that were received in chunks from models that the graph's own nodes call, by id."""
    return _by_id(
        message
        for chunk in chunks
        for message, metadata in _with_metadata(chunk)
        if isinstance(message, BaseMessageChunk)
        and metadata.get(NAMESPACE) in namespaces
        and "lc_source" not in metadata
    )


def _by_id(chunks: Iterable[BaseMessageChunk]) -> dict[str | None, BaseMessage]:
    return {message.id: message for message in messages_from_chunks(chunks)}


def _with_metadata(chunk: Any) -> Iterator[tuple[BaseMessage, Mapping[str, Any]]]:
    """Yield the pairs of message and metadata that a chunk of `stream_mode="messages"` holds."""
    if isinstance(chunk, Mapping):
        chunk = list(chunk.values())
    if not isinstance(chunk, (list, tuple)):
        return
    if len(chunk) == 2 and isinstance(chunk[0], BaseMessage) and isinstance(chunk[1], Mapping):
        yield chunk[0], chunk[1]
        return
    for held in chunk:
        yield from _with_metadata(held)
