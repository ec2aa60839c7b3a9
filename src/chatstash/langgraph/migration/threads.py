"""The thread that is read or written: its arguments, checked, and its messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple, DeltaChannelHistory

from chatstash.calls import Call, Calls
from chatstash.langgraph.migration.checkpoints import Channel, is_delta, messages_in, messages_of


def checked_saver(saver: BaseCheckpointSaver[Any]) -> BaseCheckpointSaver[Any]:
    """Return `saver`, or raise ValueError if it is no checkpointer."""
    if not isinstance(saver, BaseCheckpointSaver):
        raise ValueError(f"saver must be a checkpointer, such as UpstashRedisSaver, not {type(saver).__name__}")
    return saver


def checked_channel(thread_id: str, checkpoint_ns: str, messages_key: str) -> Channel:
    """Return the place of a thread's messages, or raise ValueError where a part of it is invalid."""
    if not isinstance(checkpoint_ns, str):
        raise ValueError(f"checkpoint_ns must be a string, not {checkpoint_ns!r:.80}")
    return Channel(_name("thread_id", thread_id), checkpoint_ns, _name("messages_key", messages_key))


def _name(argument: str, value: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{argument} must be a non-empty string, not {value!r:.80}. Nothing was sent")
    return value


def messages_at(saver: BaseCheckpointSaver[Any], channel: Channel, found: CheckpointTuple) -> Calls[list[BaseMessage]]:
    """Return the messages of a checkpoint, also of one that stores only their changes."""
    if not is_delta(found, channel):
        return messages_in(found, channel)
    histories: Mapping[str, DeltaChannelHistory] = yield Call(
        saver, "get_delta_channel_history", (), {"config": found.config, "channels": [channel.name]}
    )
    history = histories[channel.name]
    return _replayed(messages_of(history.get("seed", []), channel), (value for *_, value in history["writes"]))


def _replayed(messages: list[BaseMessage], writes: Iterable[Any]) -> list[BaseMessage]:
    """Return messages after the changes of a delta channel, as LangGraph's own reducer applies them."""
    from langgraph.graph import add_messages  # noqa: PLC0415 - only graphs of this package write such channels
    from langgraph.types import Overwrite  # noqa: PLC0415

    for value in writes:
        result: Any = value.value if isinstance(value, Overwrite) else add_messages(messages, value)  # type: ignore[arg-type]
        messages = list(result)
    return messages


def as_stored(saver: BaseCheckpointSaver[Any], message: BaseMessage) -> BaseMessage:
    """Return a message as a checkpointer would return it."""
    found: BaseMessage = saver.serde.loads_typed(saver.serde.dumps_typed(message))
    return found
