"""Reads and makes the checkpoints of imported conversations, in the form of LangGraph's `update_state`. Pure.

A checkpoint of an import has a value for the channel of messages, and its version. No node has seen that version, and
none is triggered by it: graphs trigger nodes by channels of their own. So nothing is pending, and the next input
continues the conversation.

Its metadata names the conversation under `imported_from`. So a repeated import finds what it did before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    empty_checkpoint,
)

IMPORTED_FROM = "imported_from"
"""The field of the metadata that names the conversation."""

_FORM = 4
"""The version of the form of checkpoints, as LangGraph 1 writes it."""

_COUNTERS = "counters_since_delta_snapshot"


class Channel(NamedTuple):
    """Where the messages of a thread are.

    Attributes:
        thread_id: The thread.
        namespace: The namespace of the checkpoints; empty for the root graph.
        name: The channel of messages.
    """

    thread_id: str
    namespace: str
    name: str

    @property
    def config(self) -> RunnableConfig:
        """The config of the newest checkpoint."""
        return {"configurable": {"thread_id": self.thread_id, "checkpoint_ns": self.namespace}}


class Put(NamedTuple):
    """The arguments of a saver's `put`."""

    config: RunnableConfig
    checkpoint: Checkpoint
    metadata: CheckpointMetadata
    new_versions: ChannelVersions


def origin_of(key: str) -> str:
    """Return the name of a conversation in the metadata of imports: its key, quoted. Savers drop NUL characters."""
    return quote(key, safe=":/@+ .")


def is_import(found: CheckpointTuple, origin: str) -> bool:
    """Tell whether a checkpoint was made by an import of a conversation."""
    return found.metadata.get(IMPORTED_FROM) == origin


def messages_in(found: CheckpointTuple, channel: Channel) -> list[BaseMessage]:
    """Return the messages of a checkpoint that holds their whole list; ValueError if its value is no such list."""
    return messages_of(found.checkpoint["channel_values"].get(channel.name, []), channel)


def messages_of(value: Any, channel: Channel) -> list[BaseMessage]:
    """Return the messages of a channel's value; ValueError if it is no list of messages."""
    # A delta channel keeps its snapshots in a wrapper.
    value = getattr(value, "value", value)
    if not isinstance(value, list) or not all(isinstance(each, BaseMessage) for each in value):
        raise ValueError(
            f"the channel {channel.name!r} of the thread {channel.thread_id!r} does not hold a list of messages. "
            "Nothing was changed. Name the channel of messages with messages_key="
        )
    return value


def is_delta(found: CheckpointTuple, channel: Channel) -> bool:
    """Tell whether a checkpoint holds only changes of the messages, not their whole list."""
    checkpoint = found.checkpoint
    return channel.name in checkpoint["channel_versions"] and channel.name not in checkpoint["channel_values"]


def checkpoint_to_put(
    saver: BaseCheckpointSaver[Any],
    channel: Channel,
    messages: Sequence[BaseMessage],
    latest: CheckpointTuple | None,
    origin: str,
) -> Put:
    """Return the checkpoint that follows the latest, with other messages and otherwise the same state."""
    fresh, config = empty_checkpoint(), channel.config
    before: Checkpoint = {**fresh, "v": _FORM}
    if latest is not None:
        before = latest.checkpoint
        config["configurable"]["checkpoint_id"] = before["id"]
    versions = before["channel_versions"]
    version = saver.get_next_version(max(versions.values(), default=None), None)
    checkpoint: Checkpoint = {
        **fresh,
        "v": before["v"],
        "channel_values": {**before["channel_values"], channel.name: list(messages)},
        "channel_versions": {**versions, channel.name: version},
        "versions_seen": before["versions_seen"],
    }
    return Put(config, checkpoint, _metadata(latest, channel, origin), {channel.name: version})


def _metadata(latest: CheckpointTuple | None, channel: Channel, origin: str) -> CheckpointMetadata:
    before: Any = {} if latest is None else latest.metadata
    metadata: Any = {
        "source": "update",
        "step": before.get("step", -1) + 1,
        "parents": before.get("parents", {}),
        IMPORTED_FROM: origin,
    }
    counters = {name: (updates, steps + 1) for name, (updates, steps) in (before.get(_COUNTERS) or {}).items()}
    # The whole list is a snapshot of its channel. The changes of other delta channels go on.
    counters.pop(channel.name, None)
    if counters:
        metadata[_COUNTERS] = counters
    return metadata  # type: ignore[no-any-return]
