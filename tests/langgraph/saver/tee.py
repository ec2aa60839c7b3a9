"""A checkpointer that does everything twice, in the saver under test and in a reference, and compares the results."""

from __future__ import annotations

import copy
import threading
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.memory import InMemorySaver

ATTEMPTS = 5


class LockedReference(InMemorySaver):
    """InMemorySaver loses concurrent writes without a lock."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._lock = threading.Lock()

    def put(self, *arguments: Any) -> Any:
        with self._lock:
            return super().put(*arguments)

    def put_writes(self, config: Any, writes: Any, task_id: str, task_path: str = "") -> None:
        with self._lock:
            super().put_writes(config, writes, task_id, task_path)


def comparable(found: CheckpointTuple | None) -> Any:
    """Return what two savers must agree on; a config also carries what only this run needs."""
    if found is None:
        return None
    return {
        "config": _ids(found.config),
        "parent": _ids(found.parent_config),
        "checkpoint": found.checkpoint,
        "metadata": found.metadata,
        "writes": found.pending_writes,
    }


def _ids(config: Any) -> Any:
    return config and {key: config["configurable"].get(key) for key in ("thread_id", "checkpoint_ns", "checkpoint_id")}


class Tee(BaseCheckpointSaver[str]):
    """Calls both savers, with equal copies: channels hand out live values, which other nodes may change."""

    def __init__(self, saver: BaseCheckpointSaver[str], reference: BaseCheckpointSaver[str]) -> None:
        super().__init__(serde=saver.serde)
        self.saver = saver
        self.reference = reference
        self.compared = 0

    def get_next_version(self, current: str | None, channel: None) -> str:
        # The reference's own: it keeps values by version, so it needs long random ones.
        return self.reference.get_next_version(current, channel)

    def _same(self, ours: Any, theirs: Any) -> None:
        self.compared += 1
        assert ours == theirs, f"ours: {ours}\n\nreference: {theirs}"

    # A run may write in the background between the reads of the two savers: then both are asked again.

    def get_tuple(self, config: Any) -> Any:
        for _ in range(ATTEMPTS):
            found, other = self.saver.get_tuple(config), self.reference.get_tuple(config)
            if comparable(found) == comparable(other):
                break
        self._same(comparable(found), comparable(other))
        return found

    async def aget_tuple(self, config: Any) -> Any:
        for _ in range(ATTEMPTS):
            found, other = await self.saver.aget_tuple(config), self.reference.get_tuple(config)
            if comparable(found) == comparable(other):
                break
        self._same(comparable(found), comparable(other))
        return found

    def list(self, config: Any, **options: Any) -> Any:
        found = list(self.saver.list(config, **options))
        self._same([*map(comparable, found)], [*map(comparable, self.reference.list(config, **options))])
        yield from found

    async def alist(self, config: Any, **options: Any) -> Any:
        found = [one async for one in self.saver.alist(config, **options)]
        self._same([*map(comparable, found)], [*map(comparable, self.reference.list(config, **options))])
        for one in found:
            yield one

    def put(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        copied = copy.deepcopy((checkpoint, metadata, new_versions))
        stored = self.saver.put(config, *copy.deepcopy(copied))
        assert stored == self.reference.put(config, *copied)
        return stored

    async def aput(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        copied = copy.deepcopy((checkpoint, metadata, new_versions))
        stored = await self.saver.aput(config, *copy.deepcopy(copied))
        assert stored == self.reference.put(config, *copied)
        return stored

    def put_writes(self, config: Any, writes: Any, task_id: str, task_path: str = "") -> None:
        copied = copy.deepcopy(writes)
        self.saver.put_writes(config, copy.deepcopy(copied), task_id, task_path)
        self.reference.put_writes(config, copied, task_id, task_path)

    async def aput_writes(self, config: Any, writes: Any, task_id: str, task_path: str = "") -> None:
        copied = copy.deepcopy(writes)
        await self.saver.aput_writes(config, copy.deepcopy(copied), task_id, task_path)
        self.reference.put_writes(config, copied, task_id, task_path)

    def get_delta_channel_history(self, *, config: Any, channels: Any) -> Any:
        for _ in range(ATTEMPTS):
            found = self.saver.get_delta_channel_history(config=config, channels=channels)
            other = self.reference.get_delta_channel_history(config=config, channels=channels)
            if found == other:
                break
        self._same(found, other)
        return found

    async def aget_delta_channel_history(self, *, config: Any, channels: Any) -> Any:
        for _ in range(ATTEMPTS):
            found = await self.saver.aget_delta_channel_history(config=config, channels=channels)
            other = self.reference.get_delta_channel_history(config=config, channels=channels)
            if found == other:
                break
        self._same(found, other)
        return found

    def delete_thread(self, thread_id: str) -> None:
        self.saver.delete_thread(thread_id)
        self.reference.delete_thread(thread_id)
