"""Converts between LangGraph's checkpoints and those that threads store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    PendingWrite,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.types import INTERRUPT

from chatstash.langgraph.places import checkpoint_id_of, config_of, namespace_of
from chatstash.langgraph.serialization import Serialization
from chatstash.threads.groups import Dumped
from chatstash.threads.header import WritesText, WriteText
from chatstash.threads.known import KnownCheckpoint, KnownValue
from chatstash.threads.layout import Place, WritesName, checked_text
from chatstash.threads.operations.history import ChannelHistory
from chatstash.threads.operations.put import NewCheckpoint, NewValue
from chatstash.threads.operations.read import StoredCheckpoint

INTERRUPT_KIND = f"s{WRITES_IDX_MAP[INTERRUPT]}"


def new_checkpoint(
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    new_versions: ChannelVersions,
    serialization: Serialization,
) -> NewCheckpoint:
    """Return a checkpoint ready to be stored; raises UnstorableValue."""
    values = checkpoint["channel_values"]

    def value_of(channel: str, version: object) -> NewValue | None:
        if channel not in values:
            return None
        return NewValue(version, *serialization.split(values[channel], channel))

    versions = checkpoint["channel_versions"]
    changed = {name: value_of(name, new) for name, new in new_versions.items() if versions.get(name) == new}
    whole = get_checkpoint_metadata(config, metadata)
    body = {key: part for key, part in checkpoint.items() if key != "channel_values"}
    return NewCheckpoint(
        place=Place(namespace_of(config), checked_text("checkpoint id", checkpoint["id"])),
        parent_id=checkpoint_id_of(config) or "",
        changed={name: value for name, value in changed.items() if value is not None},
        unchanged={name: version for name, version in versions.items() if name not in changed},
        value_of=lambda channel: value_of(channel, versions[channel]),
        seal=serialization.seal,
        known_of=lambda stored: known_of(stored, serialization),
        body=serialization.text_of(body, "checkpoint"),
        metadata=serialization.text_of(whole, "metadata"),
        delta_channels=tuple(metadata.get("counters_since_delta_snapshot") or ()),
        user_id=user_id_of(config, whole),
        run_id=_id_in(whole, "run_id"),
    )


def known_of(stored: StoredCheckpoint, serialization: Serialization) -> KnownCheckpoint:
    """Return what to remember of a checkpoint of which nothing else is loaded."""
    body = serialization.load(stored.text.body, stored.name.place.prefix)
    return Loader("", serialization).known(stored, body["channel_versions"])


def user_id_of(config: RunnableConfig, metadata: Mapping[str, Any] | None = None) -> str | None:
    """Return the user that a run belongs to: `user_id` in the config's `configurable` or in its metadata."""
    return (
        _id_in(config.get("configurable") or {}, "user_id")
        or _id_in(config.get("metadata") or {}, "user_id")
        or _id_in(metadata or {}, "user_id")
    )


def _id_in(where: Mapping[str, Any], name: str) -> str | None:
    found = where.get(name)
    return checked_text(name, found) if isinstance(found, str) and found else None


def writes_text(writes: Sequence[tuple[str, Any]], task_path: str, serialization: Serialization) -> WritesText:
    """Return writes ready to be stored; raises UnstorableValue."""
    texts = [
        WriteText(WRITES_IDX_MAP.get(channel, index), channel, serialization.text_of(value, channel))
        for index, (channel, value) in enumerate(writes)
    ]
    return WritesText(task_path, tuple(texts))


class Loader:
    """Loads the checkpoints of one thread, and unpacks each group once.

    Args:
        thread_id: The thread.
        serialization: Loads the values.
    """

    def __init__(self, thread_id: str, serialization: Serialization) -> None:
        self._thread_id = thread_id
        self._serialization = serialization
        self._groups: dict[str, Dumped] = {}

    def checkpoint_tuple(self, stored: StoredCheckpoint, config: RunnableConfig | None = None) -> CheckpointTuple:
        """Return a stored checkpoint as LangGraph takes it; raises TypeNotAllowed and CorruptCheckpoint."""
        place, parent_id = stored.name
        parent = config_of(self._thread_id, Place(place.namespace, parent_id)) if parent_id else None
        body = self._serialization.load(stored.text.body, place.prefix)
        values = {
            channel: self._serialization.joined(entry, self._groups_of(stored, channel), place.prefix)
            for channel, entry in stored.text.header.channels.items()
        }
        return CheckpointTuple(
            config=config or config_of(self._thread_id, place),
            checkpoint=cast("Checkpoint", {**body, "channel_values": values}),
            metadata=self._serialization.load(stored.text.metadata, place.prefix),
            parent_config=parent,
            pending_writes=pending_writes(stored.writes, self._serialization),
        )

    def known(self, stored: StoredCheckpoint, versions: Mapping[str, object]) -> KnownCheckpoint:
        """Return what to remember of a checkpoint, given the versions of its channels."""
        values = {}
        for channel, entry in stored.text.header.channels.items():
            digests = tuple(group.digest for group in self._groups_of(stored, channel))
            manifest = stored.manifests[channel]
            values[channel] = KnownValue(versions.get(channel), entry.kind, entry.note, manifest, digests)
        return KnownCheckpoint(values, stored.text.header.stored_bytes)

    def _groups_of(self, stored: StoredCheckpoint, channel: str) -> list[Dumped]:
        refs = stored.manifests[channel].refs
        return self._serialization.dumped(refs, stored.groups, self._groups, stored.name.place.prefix)


def pending_writes(
    writes: Sequence[tuple[WritesName, WritesText]], serialization: Serialization, channel: str | None = None
) -> list[PendingWrite]:
    """Return writes in the order in which a run applies them, those of one channel if it is given.

    https://github.com/langchain-ai/langgraph: `writes_sort_key` in `langgraph.checkpoint.base`.
    """
    ordered = sorted((of_task.task_path, name.task_id, *write) for name, of_task in writes for write in of_task.writes)
    return [
        (task_id, name, serialization.load(text))
        for _, task_id, _, name, text in ordered
        if channel is None or name == channel
    ]


def delta_history(
    histories: Mapping[str, ChannelHistory], serialization: Serialization
) -> dict[str, DeltaChannelHistory]:
    """Return the histories of delta channels, oldest write first."""
    found: dict[str, DeltaChannelHistory] = {}
    for channel, history in histories.items():
        writes = [
            write for of_one in reversed(history.writes) for write in pending_writes(of_one, serialization, channel)
        ]
        found[channel] = {"writes": writes}
        if (seed := history.seed) is not None:
            groups = serialization.dumped(seed.manifest.refs, seed.groups, {}, channel)
            found[channel]["seed"] = serialization.joined(seed.entry, groups, channel)
    return found
